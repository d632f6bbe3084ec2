# SPDX-License-Identifier: Apache-2.0
"""Launches go on by what the machine bears, in order, and nobody starves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.config import Config
from hypercell.base.errors import Conflict, HypercellError, Unavailable
from hypercell.base.sizes import MIB
from hypercell.cloud.contract import RestartPolicy, Status
from hypercell.node.admission import Admission, Cost, Place
from hypercell.node.line import Line
from hypercell.node.pressure import Pressure
from hypercell.vm.factory import Way
from tests.support.house import House, T, eventually, house

ROOMY = Pressure(total=1 << 40, available=1 << 39)


class FakeGauge:
    """A machine whose pressure the test sets."""

    def __init__(self) -> None:
        self.pressure = ROOMY
        self.reading = 0.0

    def read(self) -> Pressure:
        return self.pressure

    def now(self, **changes: Any) -> None:
        """A new reading."""
        self.pressure = replace(self.pressure, **changes)
        self.reading += 1

    def close(self) -> None: ...


class Gate(Admission):
    def __init__(self, **settings: Any) -> None:
        self.gauge, self.pending = FakeGauge(), 0
        config = replace(Config(), **{"launches_at_once": 2, "reserve_memory": 0, **settings})
        self.relief: list[int] = []
        super().__init__(config, self.gauge, lambda: self.pending, self.relief.append)  # type: ignore[arg-type]

    def boot(self, tenant: str = T, memory: int = 256 * MIB) -> Place:
        return self.enter(tenant, memory, Cost.BOOT)

    def claim(self, tenant: str = T) -> Place:
        return self.enter(tenant, 256 * MIB, Cost.CLAIM)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    built = Gate()
    yield built
    built.close()


def waits(place: Place) -> bool:
    return place.waiting is not None


# Order


async def test_launches_go_on_in_the_order_in_which_they_came(gate: Gate) -> None:
    places = [gate.boot() for _ in range(5)]
    assert [waits(place) for place in places] == [False, False, True, True, True]
    assert [place.waiting.position for place in places[2:] if place.waiting] == [1, 2, 3]
    places[1].leave()
    assert [waits(place) for place in places[2:]] == [False, True, True]
    await places[2].turn()


async def test_a_thousand_launches_of_one_tenant_do_not_starve_anothers_single_one(gate: Gate) -> None:
    running = [gate.boot("greedy") for _ in range(2)]
    crowd = [gate.boot("greedy") for _ in range(1000)]
    single = gate.boot("modest")
    assert single.waiting is not None and single.waiting.position == 2
    running[0].leave()
    crowd[0].leave()
    assert not waits(single) and sum(not waits(place) for place in crowd) == 1


@pytest.mark.parametrize("lengths", [(3, 1, 2), (1, 4, 4), (2, 2), (5,)])
def test_a_position_tells_after_how_many_the_turn_comes(lengths: tuple[int, ...]) -> None:
    line: Line[tuple[int, int]] = Line()
    places = [(tenant, number) for tenant, length in enumerate(lengths) for number in range(length)]
    for place in places:
        line.append(str(place[0]), place)
    told = {place: line.position(str(place[0]), place) for place in places}
    taken = [line.take() for _ in places]
    assert taken == sorted(places, key=lambda place: told[place]) and sorted(told.values()) == list(
        range(1, len(places) + 1)
    )
    assert not line and line.head() is None


# CPU


async def test_a_claim_from_the_pool_does_not_queue_behind_cold_boots(gate: Gate) -> None:
    boots = [gate.boot() for _ in range(10)]
    assert waits(boots[-1]) and not waits(gate.claim())


async def test_a_claim_that_becomes_a_boot_counts_as_one(gate: Gate) -> None:
    claim = gate.claim()
    claim.becomes(Cost.BOOT)
    gate.boot()
    assert waits(gate.boot())
    claim.becomes(Cost.CLAIM)
    assert gate.booting == 2 and gate.queued == 0


async def test_a_crowded_machine_boots_fewer_at_once_but_never_none(gate: Gate) -> None:
    gate.gauge.now(cpu=1.0, runnable=100.0)
    first, second = gate.boot(), gate.boot()
    assert not waits(first) and second.waiting is not None and "crowded" in second.waiting.reason
    gate.gauge.now(cpu=0.5)
    await second.turn()


async def test_clean_ups_under_way_take_the_cpus_that_they_take(gate: Gate) -> None:
    gate.pending = 1000
    first, second = gate.boot(), gate.boot()
    assert not waits(first) and second.waiting is not None and "1000 clean-ups" in second.waiting.reason
    gate.pending = 0
    await second.turn()


# Memory


async def test_memory_that_launches_under_way_have_yet_to_touch_is_counted(gate: Gate) -> None:
    gate.gauge.now(available=Cost.CLAIM.touches * 3)
    places = [gate.claim() for _ in range(4)]
    assert [waits(place) for place in places] == [False, False, False, True]
    assert places[3].waiting is not None and "memory" in places[3].waiting.reason
    places[0].leave()
    assert waits(places[3])  # it has touched its memory, and the reading is from before
    gate.gauge.now()
    await places[3].turn()


async def test_what_is_kept_free_stays_free() -> None:
    gate = Gate(reserve_memory=1 << 30)
    gate.gauge.now(available=(1 << 30) + Cost.BOOT.touches - 1)
    place = gate.boot()
    assert waits(place)
    gate.gauge.now(available=(1 << 30) + Cost.BOOT.touches)
    await place.turn()
    gate.close()


async def test_a_machine_that_is_held_up_by_the_want_of_memory_starts_one_at_a_time(gate: Gate) -> None:
    gate.gauge.now(memory=0.5)
    first, second = gate.boot(), gate.boot()
    assert not waits(first) and second.waiting is not None and "50%" in second.waiting.reason
    first.leave()
    await second.turn()


async def test_small_launches_do_not_take_the_memory_that_a_big_one_waits_for(gate: Gate) -> None:
    gate.gauge.now(available=Cost.BOOT.touches - 1)
    boot, claim = gate.boot(), gate.claim()
    assert waits(boot) and waits(claim)
    gate.gauge.now(available=Cost.BOOT.touches + Cost.CLAIM.touches)
    await asyncio.gather(boot.turn(), claim.turn())


async def test_memory_that_nobody_waits_for_is_asked_back(gate: Gate) -> None:
    gate.gauge.now(available=Cost.BOOT.touches - 5)
    gate.boot()
    gate.boot()
    assert gate.relief == [5]


# Refusals


async def test_a_vm_that_never_fits_is_refused_at_once(gate: Gate) -> None:
    gate.gauge.now(total=1 << 30)
    with pytest.raises(Unavailable, match="does not fit") as refusal:
        gate.boot(memory=2 << 30)
    assert refusal.value.retry_after > 0 and gate.refused == {"size": 1}
    assert not waits(gate.boot())


async def test_a_full_line_refuses_and_says_when_to_come_again() -> None:
    gate = Gate(launch_queue=3)
    places = [gate.boot() for _ in range(5)]
    with pytest.raises(Unavailable, match="3 starts are waiting") as refusal:
        gate.boot()
    assert refusal.value.retry_after > 0 and gate.refused == {"queue": 1}
    assert not waits(gate.claim())
    places[0].leave()
    gate.boot()
    gate.close()


async def test_who_waited_too_long_is_refused_with_the_reason() -> None:
    gate = Gate(launch_wait=0.05, launches_at_once=1)
    gate.boot()
    late = gate.boot()
    with pytest.raises(Unavailable, match=r"0.05 s .*CPU: 1 of at most 1 launches"):
        await late.turn()
    assert gate.queued == 0 and gate.refused == {"time": 1} and late.waiting is None
    gate.close()


async def test_who_leaves_the_line_makes_room(gate: Gate) -> None:
    places = [gate.boot() for _ in range(4)]
    assert places[2].give_up(Conflict("enough")) and not places[2].give_up(Conflict("again"))
    with pytest.raises(Conflict, match="enough"):
        await places[2].turn()
    assert not places[0].give_up(Conflict("it is on its way"))
    assert places[3].waiting is not None and places[3].waiting.position == 1


async def test_a_cancelled_wait_is_no_place_in_the_line(gate: Gate) -> None:
    gate.boot(), gate.boot()
    task = asyncio.ensure_future(gate.boot().turn())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert gate.queued == 0


async def test_leaving_twice_counts_once(gate: Gate) -> None:
    place = gate.boot()
    place.leave()
    place.leave()
    assert gate.booting == 0


async def test_a_gate_that_closes_sends_all_away(gate: Gate) -> None:
    places = [gate.boot() for _ in range(4)]
    gate.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await places[3].turn()
    with pytest.raises(Unavailable, match="shutting down"):
        gate.boot()


# The pool


async def test_no_more_launches_count_on_the_pool_than_it_has_vms(tmp_path: Path) -> None:
    async with house(tmp_path, clones=True, pool_fill=2) as home:
        factory, gate = home.node.services.factory, home.node.services.admission
        await eventually(lambda: _pooled(home, 2))
        pods = [home.node.get(await home.create("true")).pod for _ in range(3)]
        assert [pod.prospect() for pod in pods] == [Way.POOL, Way.POOL, Way.TEMPLATE]
        pods[0].forget_promise()
        assert pods[2].prospect() is Way.POOL
        for pod in pods:
            pod.forget_promise()
        assert factory.figures().pooled.values() and gate.queued == 0


async def _pooled(home: House, count: int) -> bool:
    return sum(home.node.services.factory.figures().pooled.values()) >= count


# Containers


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[House]:
    """A house that launches one at a time, and one launch of which is under way for ever."""
    async with house(tmp_path, launches_at_once=1, boot_timeout=60.0) as built:
        built.machine.faults = Faults(mute=True)
        blocker = await built.create("sleep", "infinity", name="blocker")
        task = asyncio.ensure_future(built.containers.start(T, blocker))
        await eventually(lambda: _launched(built, 1))
        built.machine.faults = Faults()
        yield built
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _launched(home: House, count: int) -> bool:
    return home.machine.launches >= count


async def _waiting(home: House, ident: str) -> bool:
    return (await home.view(ident)).waiting is not None


async def queued(home: House, **request: Any) -> tuple[str, asyncio.Future[None]]:
    """A container whose start waits."""
    ident = await home.create("sleep", "infinity", **request)
    task = asyncio.ensure_future(home.containers.start(T, ident))
    await eventually(lambda: _waiting(home, ident))
    return ident, task


async def test_a_waiting_container_says_why_since_when_and_at_which_place(narrow: House) -> None:
    first, one = await queued(narrow)
    second, two = await queued(narrow)
    view = await narrow.view(second)
    assert view.state.status is Status.CREATED and view.waiting is not None
    assert view.waiting.position == 2 and "CPU" in view.waiting.reason and view.waiting.since_ns > view.created_ns
    await narrow.containers.kill(T, "blocker")
    await asyncio.gather(one, two)
    assert (await narrow.view(second)).waiting is None and await narrow.status(first) is Status.RUNNING


@pytest.mark.parametrize("verb", ["stop", "kill", "remove"])
async def test_a_waiting_container_can_be_ended_at_once(narrow: House, verb: str) -> None:
    ident, start = await queued(narrow)
    async with asyncio.timeout(5):
        await getattr(narrow.containers, verb)(T, ident)
    with pytest.raises(Conflict, match="was not started"):
        await start
    assert narrow.machine.launches == 1 and narrow.node.services.admission.queued == 0
    if verb != "remove":
        assert await narrow.status(ident) is Status.CREATED


async def test_a_client_that_goes_away_takes_its_start_back(narrow: House) -> None:
    ident, start = await queued(narrow)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await eventually(lambda: _settled(narrow, ident))
    await narrow.containers.kill(T, "blocker")
    assert narrow.machine.launches == 1
    await narrow.containers.start(T, ident)


async def _settled(home: House, ident: str) -> bool:
    container = home.node.get(ident)
    return not container.starting and home.node.services.admission.queued == 0


async def test_a_start_that_waits_is_not_written_down_as_begun(narrow: House) -> None:
    ident, start = await queued(narrow)
    await narrow.close()
    with pytest.raises(HypercellError):
        await start
    await narrow.open()
    view = await narrow.view(ident)
    assert view.state.status is Status.CREATED and view.state.started_ns == 0


async def test_a_container_that_may_restart_is_tried_again_when_it_waited_too_long(tmp_path: Path) -> None:
    async with house(tmp_path, launches_at_once=1, launch_wait=0.1) as home:
        ident = await home.run("sleep", "infinity", restart=RestartPolicy("always"))
        place = home.node.services.admission.enter(T, MIB, Cost.BOOT)
        home.machine.crash(ident)
        await eventually(lambda: _refused_once(home))
        assert await home.status(ident) is Status.RESTARTING
        place.leave()
        await home.until(ident, Status.RUNNING)


async def _refused_once(home: House) -> bool:
    return home.node.services.admission.refused["time"] >= 1


async def test_every_way_out_of_a_launch_leaves_the_gate(home: House) -> None:
    await home.wait(await home.run("true"))
    home.machine.refuse = "broken"
    with pytest.raises(HypercellError):
        await home.run("true")
    home.machine.refuse = ""
    with pytest.raises(HypercellError):
        await home.run("nonesuch-program")
    admission = home.node.services.admission
    assert (admission.booting, admission.claiming, admission.queued) == (0, 0, 0)


async def test_more_starts_than_the_machine_has_cpus_all_come_to_run(home: House) -> None:
    idents = [await home.create("sleep", "infinity") for _ in range(4 * (os.cpu_count() or 1) + 4)]
    await asyncio.gather(*(home.containers.start(T, ident) for ident in idents))
    assert {await home.status(ident) for ident in idents} == {Status.RUNNING}
