# SPDX-License-Identifier: Apache-2.0
"""Guests that do not answer a daemon that comes back cost it what one of them costs, and the others nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.errors import Unavailable
from hypercell.cloud.contract import ExecRequest, RestartPolicy, Status
from hypercell.node.pod import Pod
from tests.support.house import House, T

MANY = 40


async def silenced(home: House, **request: Any) -> str:
    """A running container, whose guest will say nothing to the next daemon."""
    ident = await home.run("sleep", "infinity", **request)
    home.machine.guest(ident).faults = Faults(mute=True)
    return ident


async def returned(home: House) -> None:
    """A daemon that serves at once, whatever guests do."""
    home.bounds = replace(home.bounds, recovery=0.2)
    await home.reopen()


async def test_all_mute_guests_are_waited_for_at_once(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    mute = [await silenced(home) for _ in range(MANY)]
    adopt, waiting, most = Pod.adopt, 0, 0

    async def counted(pod: Pod) -> Any:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        try:
            return await adopt(pod)
        finally:
            waiting -= 1

    monkeypatch.setattr(Pod, "adopt", counted)
    await home.reopen()
    assert most == MANY
    for ident in mute:
        assert await home.wait(ident) == 255
        assert (await home.view(ident)).vm["reason"] == "agent-lost"
    await home.settled()
    assert home.machine.vms == {}


async def test_a_mute_guest_keeps_nobody_from_being_served(home: House) -> None:
    mute, well = await silenced(home), await home.run("sleep", "infinity")
    await returned(home)
    assert not home.node.get(mute).recovered.is_set(), "it waited for the guest that says nothing"
    assert await home.status(well) is Status.RUNNING
    assert [view.state.status for view in await home.containers.list(T)] == [Status.RUNNING, Status.RUNNING]
    await home.containers.stop(T, well, 0)

    with pytest.raises(Unavailable, match="is being found again: try again"):
        await home.containers.exec_create(T, mute, ExecRequest(("true",)))
    assert (await home.containers.prune(T, lambda view: False))[0] == [well]
    assert await home.wait(mute) == 255
    assert await home.status(mute) is Status.EXITED


@pytest.mark.parametrize("verb", ["start", "remove", "stop"])
async def test_a_verb_waits_until_it_is_known_what_became_of_the_container(home: House, verb: str) -> None:
    mute = await silenced(home, name="it")
    await returned(home)
    home.machine.faults = Faults()
    async with asyncio.timeout(20):
        if verb == "start":
            await home.containers.start(T, mute)
            assert await home.status(mute) is Status.RUNNING
        elif verb == "remove":
            await home.containers.remove(T, mute, force=True)
            assert await home.leftovers() == []
        else:
            with pytest.raises(Exception, match="is not running"):
                await home.containers.stop(T, mute)
            assert home.machine.vms == {}


async def test_a_mute_guest_is_replaced_where_the_policy_wants_it(home: House) -> None:
    mute = await silenced(home, restart=RestartPolicy("always"))
    await returned(home)
    await home.restarts(mute, 1)
    await home.until(mute, Status.RUNNING)


async def test_a_client_that_attaches_meanwhile_is_let_go_when_the_guest_is_given_up(home: House) -> None:
    mute = await silenced(home)
    await returned(home)
    attachment = await home.containers.attach(T, mute, False, True, True)
    async with asyncio.timeout(20):
        assert [data async for _, data in attachment.output()] == []


async def test_a_daemon_that_ends_while_it_still_looks_leaves_all_to_its_successor(home: House) -> None:
    mute = await silenced(home)
    await returned(home)
    await home.close()
    home.machine.guest(mute).faults = Faults()
    await home.open()
    assert await home.status(mute) is Status.RUNNING
