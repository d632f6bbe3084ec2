# SPDX-License-Identifier: Apache-2.0
"""A container is gone for its owner at once; what is left of it goes behind his back, bounded, and is never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.errors import Conflict, NotFound
from hypercell.cloud.contract import PublishedPort, RestartPolicy, Status
from hypercell.node.network import Network
from hypercell.node.storage import Storage
from hypercell.node.tasks import Tasks
from hypercell.node.teardown import MOST, Teardown
from tests.support.house import House, T, eventually
from tests.support.machine import MachineDriver

WEB = (PublishedPort(80, "tcp", "", 8080),)


@pytest.fixture
async def held(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """VMs are killed at once and not gone before this is set, as if the kernel took its time with them."""
    released = asyncio.Event()
    discard = MachineDriver.discard

    async def slow(self: MachineDriver, vm_id: str) -> None:
        await self.ask("kill", id=vm_id)
        await released.wait()
        await discard(self, vm_id)

    monkeypatch.setattr(MachineDriver, "discard", slow)
    yield released
    released.set()


async def test_a_removal_does_not_wait_for_the_end_of_the_vm(home: House, held: asyncio.Event) -> None:
    ident = await home.run("sleep", "infinity", name="it")
    waiting = asyncio.ensure_future(home.wait(ident, "removed"))
    await asyncio.sleep(0)
    await home.containers.remove(T, "it", force=True)
    assert await waiting == 137
    assert home.actions(ident)[-3:] == ["kill", "die", "destroy"]
    with pytest.raises(NotFound):
        await home.view(ident)
    assert await home.containers.list(T, all=True) == []

    async def killed() -> bool:
        return home.machine.running() == []

    await eventually(killed)
    assert list(home.machine.vms) == [ident] and home.node.services.teardown.pending == 1
    second = await home.run("sleep", "infinity", name="it")
    assert await home.status(second) is Status.RUNNING
    held.set()
    await home.settled()
    assert list(home.machine.vms) == [second] == list(home.network.ports)
    assert [path.name for path in home.config.containers.iterdir()] == [second]


@pytest.mark.parametrize("way", ["remove", "auto_remove", "stop", "wait"])
async def test_its_host_ports_can_be_had_at_once(home: House, held: asyncio.Event, way: str) -> None:
    ident = await home.run("sleep", "infinity", published=WEB, auto_remove=way == "auto_remove")
    if way == "remove":
        await home.containers.remove(T, ident, force=True)
    elif way == "stop":
        await home.containers.stop(T, ident)
    else:
        waiting = asyncio.ensure_future(home.wait(ident, "removed" if way == "auto_remove" else "next-exit"))
        await asyncio.sleep(0)
        home.machine.guest(ident).containers[ident].init.exit(0)
        await waiting
    assert ident in home.machine.vms
    second = await home.run("sleep", "infinity", published=WEB)
    held.set()
    await home.settled()
    assert home.network.ports[second].published[0].host_port == 8080


async def test_its_address_is_nobodys_before_its_vm_is_gone(home: House, held: asyncio.Event) -> None:
    ident = await home.run("sleep", "infinity")
    places = home.network.ports[ident].places
    await home.containers.remove(T, ident, force=True)
    second = await home.create("true")
    assert home.network.ports[second].places[0].address != places[0].address
    held.set()
    await home.settled()
    third = await home.create("true")
    assert home.network.ports[third].places[0].address == places[0].address


async def test_a_vm_that_cannot_be_removed_keeps_its_address_until_it_is(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident = await home.run("sleep", "infinity")
    with monkeypatch.context() as patch:

        async def failing(self: MachineDriver, vm_id: str) -> None:
            raise OSError("no such luck")

        patch.setattr(MachineDriver, "discard", failing)
        await home.containers.remove(T, ident, force=True)
        await home.settled()
        assert list(home.network.ports) == [ident]
        await home.reopen()
        assert list(home.network.ports) == [ident] and await home.containers.list(T, all=True) == []
    await home.reopen()
    assert await home.leftovers() == []


async def test_what_ends_together_is_removed_together(
    home: House, held: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(real: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def count(*idents: str) -> None:
            calls.append(len(idents))
            await real(*idents)

        return count

    for room, name in ((home.network, "release"), (home.node.services.storage, "remove")):
        monkeypatch.setattr(room, name, counted(getattr(room, name)))
    idents = [await home.run("sleep", "infinity") for _ in range(20)]
    await asyncio.gather(*(home.containers.remove(T, ident, force=True) for ident in idents))
    held.set()
    assert await home.leftovers() == []
    assert sum(calls) == 40 and len(calls) <= 20


async def test_a_removal_waits_for_a_place_and_nobody_gets_in_between(home: House) -> None:
    ident = await home.create("true")
    teardown = home.node.services.teardown
    for _ in range(MOST):
        await teardown.enter()
    removing = asyncio.ensure_future(home.containers.remove(T, ident))
    await asyncio.sleep(0.02)
    assert not removing.done() and teardown.pending == MOST
    with pytest.raises(Conflict, match="already in progress"):
        await home.containers.remove(T, ident, force=True)
    with pytest.raises(Conflict, match="marked for removal"):
        await home.containers.start(T, ident)
    for _ in range(MOST):
        teardown.leave()
    await removing
    assert await home.leftovers() == []


async def test_teardowns_are_bounded_whatever_becomes_of_them() -> None:
    class Nothing:
        async def release(self, *port_ids: str) -> None:
            raise OSError("no such luck")

        async def remove(self, *container_ids: str) -> None:
            raise OSError("no such luck")

    nothing: Any = Nothing()
    network: Network = nothing
    storage: Storage = nothing
    tasks = Tasks()
    teardown = Teardown(network, storage, tasks, most=2)
    under_way = most = 0

    async def end_vm() -> bool:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        if number % 3 == 0:
            raise OSError("no such luck")
        return number % 2 == 0

    for number in range(20):
        await teardown.enter()
        teardown.begin(f"c{number}", f"p{number}", end_vm)
    async with asyncio.timeout(5):
        while teardown.pending:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert most == 2
    await tasks.close(1)


async def test_a_daemon_that_ends_finishes_what_is_removed(home: House, held: asyncio.Event) -> None:
    ident = await home.run("sleep", "infinity")
    await home.containers.remove(T, ident, force=True)
    asyncio.get_running_loop().call_later(0.1, held.set)
    await home.close()
    assert home.machine.vms == {} and home.network.ports == {} and list(home.config.containers.iterdir()) == []
    await home.open()


async def test_and_leaves_what_takes_too_long_to_its_successor(home: House, held: asyncio.Event) -> None:
    ident = await home.run("sleep", "infinity")
    await home.containers.remove(T, ident, force=True)
    async with asyncio.timeout(10):
        await home.close()
    assert list(home.machine.vms) == [ident] == list(home.network.ports)
    held.set()
    await home.open()
    assert await home.leftovers() == []


class TestTheEndOfARun:
    async def test_is_told_before_that_of_its_vm(self, home: House) -> None:
        home.machine.faults = Faults(silent={"shutdown"})
        ident = await home.run("sh", "-c", "echo said; exit 3")
        assert await home.wait(ident) == 3
        assert list(home.machine.vms) == [ident]
        state = (await home.view(ident)).state
        assert (state.status, state.pid, state.exit_code) == (Status.EXITED, 0, 3)
        assert await home.output(ident) == b"said\n"
        assert home.actions(ident)[-1] == "die"

    async def test_and_the_next_start_waits_for_both(self, home: House) -> None:
        ident = await home.run("true")
        assert await home.wait(ident) == 0
        first = home.machine.vms[ident]
        await home.containers.start(T, ident)
        assert first.ended.done() and home.machine.vms[ident] is not first
        await home.wait(ident)
        assert home.machine.launches == 2

    async def test_a_removal_does_not_wait_for_a_disk_that_nobody_will_read(self, home: House) -> None:
        home.machine.faults = Faults(silent={"shutdown"})
        ident = await home.run("true")
        await home.wait(ident)
        end = home.node.get(ident).vm_end
        assert end is not None
        await home.containers.remove(T, ident)
        async with asyncio.timeout(home.bounds.shutdown / 2):
            assert await end
        assert await home.leftovers() == []

    async def test_so_does_a_restart_that_the_policy_wants(self, home: House, held: asyncio.Event) -> None:
        ident = await home.run("false", restart=RestartPolicy("on-failure", 1))
        await home.until(ident, Status.RESTARTING)
        await asyncio.sleep(0.3)
        assert await home.status(ident) is Status.RESTARTING and home.machine.launches == 1
        held.set()
        await home.restarts(ident, 1)
