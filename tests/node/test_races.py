# SPDX-License-Identifier: Apache-2.0
"""Two callers at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.errors import Conflict, HypercellError, NotFound, NotModified
from hypercell.cloud.contract import RestartPolicy, Status
from tests.support.house import House, T


async def test_of_a_hundred_creates_with_one_name_one_wins(home: House) -> None:
    results = await asyncio.gather(*(home.create("true", name="one") for _ in range(100)), return_exceptions=True)
    (winner,) = [result for result in results if isinstance(result, str)]
    assert all(isinstance(result, Conflict) for result in results if result != winner)
    assert [path.name for path in home.config.containers.iterdir()] == [winner] == list(home.network.ports)


async def test_of_many_renames_to_one_name_one_wins(home: House) -> None:
    idents = [await home.create("true") for _ in range(10)]
    renames = [home.containers.rename(T, ident, "one") for ident in idents]
    results = await asyncio.gather(*renames, return_exceptions=True)
    assert results.count(None) == 1 and sum(isinstance(result, Conflict) for result in results) == 9
    winner = idents[results.index(None)]
    assert (await home.containers.inspect(T, "one")).id == winner
    await home.reopen()
    assert (await home.containers.inspect(T, "one")).id == winner


async def test_of_many_starts_one_starts_it(home: House) -> None:
    ident = await home.create("sleep", "infinity")
    results = await asyncio.gather(*(home.containers.start(T, ident) for _ in range(10)), return_exceptions=True)
    assert results.count(None) == 1 and sum(isinstance(result, NotModified) for result in results) == 9
    assert home.machine.launches == 1


async def test_of_many_removals_one_removes_it(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    removals = (home.containers.remove(T, ident, force=True) for _ in range(10))
    results = await asyncio.gather(*removals, return_exceptions=True)
    assert results.count(None) == 1
    assert all(isinstance(result, Conflict | NotFound) for result in results if result is not None)
    assert home.actions(ident).count("destroy") == 1


@pytest.mark.parametrize("verb", ["stop", "kill", "remove"])
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.1])
async def test_a_start_can_be_broken_off(home: House, verb: str, delay: float) -> None:
    home.machine.faults = Faults(mute=True)  # it would boot until the timeout
    ident = await home.create("sleep", "infinity")
    starting = asyncio.ensure_future(home.containers.start(T, ident))
    await asyncio.sleep(delay)
    async with asyncio.timeout(3):
        if verb == "remove":
            await home.containers.remove(T, ident, force=True)
        elif delay:
            await getattr(home.containers, verb)(T, ident)
        else:
            await asyncio.sleep(0.005)
            await getattr(home.containers, verb)(T, ident)
        with pytest.raises((Conflict, NotFound)):
            await starting
    await home.settled()
    assert home.machine.vms == {}
    if verb == "remove":
        assert list(home.config.containers.iterdir()) == []
    else:
        assert await home.status(ident) is Status.CREATED


async def test_a_start_waits_for_the_end_of_the_run_before(home: House) -> None:
    ident = await home.run("true")
    for _ in range(10):
        await home.wait(ident)
        await home.containers.start(T, ident)
    await home.wait(ident)
    await home.settled()
    assert home.machine.launches == 11 and home.machine.vms == {}


async def test_removal_and_natural_end_meet(home: House) -> None:
    for delay in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008):
        ident = await home.run("true", auto_remove=True)
        await asyncio.sleep(delay)
        try:
            await home.containers.remove(T, ident, force=True)
        except (Conflict, NotFound):
            with pytest.raises(NotFound):
                await home.containers.wait(T, ident, "removed")
                await home.view(ident)
        assert home.actions(ident).count("destroy") == 1
    await home.settled()
    assert list(home.config.containers.iterdir()) == [] and home.network.ports == {} and home.machine.vms == {}


async def test_any_verbs_in_any_order_leave_a_sound_house(home: House) -> None:
    """A storm of verbs from many callers; then everything is removed, and nothing is left."""
    chance = random.Random(11)
    idents = [await home.create("sleep", "infinity", restart=RestartPolicy("always")) for _ in range(2)]
    idents += [await home.create("sh", "-c", "sleep 0.01; exit 1", restart=RestartPolicy("on-failure", 3))]
    idents += [await home.create("true") for _ in range(2)]
    service = home.containers

    async def caller() -> None:
        for _ in range(25):
            ident = chance.choice(idents)
            verbs = [
                service.start(T, ident),
                service.stop(T, ident, 0),
                service.restart(T, ident, 0),
                service.kill(T, ident),
                service.pause(T, ident),
                service.unpause(T, ident),
                service.rename(T, ident, f"name{chance.randrange(8)}"),
            ]
            chosen = chance.randrange(len(verbs))
            for number, verb in enumerate(verbs):
                if number != chosen:
                    verb.close()
            try:
                await verbs[chosen]
            except HypercellError:
                await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(*(caller() for _ in range(8)))
        for ident in idents:
            await service.remove(T, ident, force=True)
    await home.settled()
    assert home.machine.vms == {} and home.network.ports == {} and list(home.config.containers.iterdir()) == []


async def test_fifty_containers_at_once_come_and_go(home: House) -> None:
    async def one(number: int) -> None:
        ident = await home.create("sh", "-c", f"echo {number}; exit {number}", name=f"n{number}x")
        waiting = asyncio.ensure_future(home.wait(ident, "next-exit"))
        await asyncio.sleep(0)
        await home.containers.start(T, ident)
        assert await waiting == number
        assert await home.output(ident) == b"%d\n" % number
        await home.containers.remove(T, ident)

    await asyncio.gather(*(one(number) for number in range(50)))
    await home.settled()
    assert home.machine.vms == {} and home.network.ports == {}
