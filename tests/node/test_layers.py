# SPDX-License-Identifier: Apache-2.0
"""What was changed in a container, as a layer; and several things done to its files in one guest."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.errors import Conflict, HypercellError
from hypercell.cloud.contract import Status
from hypercell.node.layer import layer
from tests.support.house import House, Resident, T
from tests.support.images import tar


async def names(content: AsyncIterator[bytes]) -> list[str]:
    data = b"".join([chunk async for chunk in content])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_container_that_runs_is_paused_meanwhile_and_goes_on(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    async with layer(home.node.get(ident), pause=True) as content:
        assert await home.status(ident) is Status.PAUSED
        await names(content)
    assert await home.status(ident) is Status.RUNNING
    assert home.actions(ident)[-2:] == ["pause", "unpause"]


async def test_one_that_was_paused_stays_so_and_one_that_is_not_to_be_paused_is_not(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    async with layer(home.node.get(ident), pause=False) as content:
        assert await home.status(ident) is Status.RUNNING
        await names(content)
    await home.containers.pause(T, ident)
    async with layer(home.node.get(ident), pause=True) as content:
        await names(content)
    assert await home.status(ident) is Status.PAUSED


async def test_a_commit_that_is_called_off_or_fails_does_not_leave_it_paused(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    begun = asyncio.Event()

    async def commit() -> None:
        async with layer(home.node.get(ident), pause=True):
            begun.set()
            await asyncio.Event().wait()

    committing = asyncio.ensure_future(commit())
    await begun.wait()
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    assert await home.status(ident) is Status.RUNNING
    home.machine.guest(home.machine.running()[0]).faults = Faults(errors={"container.layer": ("internal", "no")})
    with pytest.raises(HypercellError):
        async with layer(home.node.get(ident), pause=True):
            raise AssertionError("there is no layer")
    assert await home.status(ident) is Status.RUNNING


async def test_several_things_are_done_in_one_guest_that_goes(any_home: Resident) -> None:
    ident = await any_home.create("true")
    async with any_home.containers.workshop(T, ident) as shop:
        assert (await shop.stat("/etc"))["name"] == "etc"
        assert await shop.stat("/nothing") is None
        await shop.put("/", body(tar({"made/file": b"x"})), chown=False)
        async with shop.get("/made") as content:
            assert "made/file" in await names(content)
        async with shop.layer() as content:
            assert "made/file" in [name.strip("/") for name in await names(content)]
        assert ident in await any_home.vms()
    assert ident not in await any_home.vms()
    assert await any_home.status(ident) is Status.CREATED
    await any_home.containers.remove(T, ident)
    assert await any_home.leftovers() == []


async def test_a_removal_ends_the_work(home: House) -> None:
    ident = await home.create("true")
    with pytest.raises(Conflict, match="was removed meanwhile"):
        async with home.containers.workshop(T, ident) as shop:
            await home.containers.remove(T, ident, force=True)
            await shop.stat("/etc")
    assert await home.leftovers() == []
