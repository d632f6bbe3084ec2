# SPDX-License-Identifier: Apache-2.0
"""The pool: filled by demand, within its budget, and given up first."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AbstractAsyncContextManager

import pytest

from hypercell.agent.fake import Faults
from hypercell.vm.driver import Disk, HostUsage, Slot, VmSpec
from hypercell.vm.factory import Way, filling, memory
from hypercell.vm.factory.templates import Templates
from tests.support.machine import MachineVm
from tests.support.workshop import FakeSample, Opener, Workshop, specification

MIB = 1024 * 1024


async def test_a_waiting_vm_has_carried_out_a_container_and_kept_nothing_of_it(pooled: Workshop) -> None:
    for vm_id in pooled.machine.running():
        guest = pooled.machine.guest(vm_id)
        assert guest.containers == {} and guest.outputs == {}
        assert guest.configuration["hostname"] == "warming"
        assert pooled.machine.disks[vm_id]["root"] == "/sample.erofs"


@pytest.mark.parametrize("failing", [1, 2])
async def test_no_tap_is_left_over_where_the_sample_has_no_disk(
    make: Opener, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Such as on a full disk: of a template at first, of a VM that is to wait as the second."""
    asked: list[str] = []
    disks = FakeSample.disks

    def refuse(self: FakeSample, vm_id: str) -> AbstractAsyncContextManager[dict[Slot, Disk]]:
        asked.append(vm_id)
        if len(asked) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return disks(self, vm_id)

    monkeypatch.setattr(FakeSample, "disks", refuse)
    built = await make(pool_memory=1024)
    built.open()
    await built.until(lambda: len(asked) == failing)
    assert built.spares == (0, 2)[failing - 1]  # the template's and that of the clone which proved it


async def test_what_was_started_often_waits_often(pooled: Workshop) -> None:
    for _ in range(5):
        await pooled.launch()
    await pooled.filled(5)
    for _ in range(4):
        await pooled.launch(spec=specification(memory_mib=1024))
    await pooled.until(lambda: sorted(pooled.factory.figures().pooled.values()) == [4, 5])


async def test_the_pool_keeps_within_its_budget(make: Opener) -> None:
    built = await make(pool_memory=200)
    built.open()
    for _ in range(30):
        await built.launch()
    await asyncio.sleep(0.5)
    figures = built.factory.figures()
    assert 0 < figures.pooled_bytes <= 200 * MIB


async def test_of_many_clones_of_a_shape_some_are_weighed(make: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    weighed: list[int] = []

    async def weigh(vm: MachineVm) -> HostUsage:
        weighed.append(len(weighed))
        return HostUsage(0, 0, 0, (20 + len(weighed)) * MIB)

    monkeypatch.setattr(MachineVm, "host_usage", weigh)
    built = await make(pool_memory=4096, pool_fill=40)
    built.open()
    await built.filled(40)
    assert len(weighed) == 3  # the first, the seventeenth and the thirty-third
    assert built.factory.figures().pooled_bytes == (16 * 21 + 16 * 22 + 8 * 23) * MIB


async def test_no_budget_no_pool(make: Opener) -> None:
    built = await make(pool_memory=0)
    built.open()
    for _ in range(3):
        await built.launch()
    await asyncio.sleep(0.2)
    assert built.factory.figures().pooled == {}


async def test_a_fixed_number_can_be_kept_ready(make: Opener) -> None:
    built = await make(pool_memory=4096, pool_fill=12)
    built.open()
    await built.filled(12)


async def test_a_pool_that_nobody_uses_shrinks(pooled: Workshop) -> None:
    now = asyncio.get_running_loop().time()
    pooled.factory._demand._clock = lambda: now
    for _ in range(6):
        await pooled.launch()
    await pooled.filled(6)
    now += 100_000
    with pooled.factory.foreground():
        pass
    await pooled.filled(0)
    await pooled.until(lambda: len(pooled.machine.running()) == 6)


async def test_under_memory_pressure_waiting_vms_go_first_and_templates_next(
    pooled: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await pooled.launch()
    await pooled.filled(2)
    monkeypatch.setattr(memory, "available", lambda: 1)
    with pooled.factory.foreground():
        pass
    await pooled.filled(0)
    await pooled.templated(0)
    assert pooled.machine.running() == [mine.vm.id]
    launched = await pooled.launch()
    assert launched.way is Way.COLD and "memory is short" in launched.note
    monkeypatch.setattr(memory, "available", lambda: 2**40)
    await pooled.launch()
    await pooled.templated(1)


async def test_no_template_is_tried_that_is_larger_than_the_machine(
    make: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "total", lambda: 511 * MIB)
    asked: list[str] = []
    ensure = Templates.ensure

    async def count(self: Templates, key: str, spec: VmSpec) -> bool:
        asked.append(key)
        return await ensure(self, key, spec)

    monkeypatch.setattr(Templates, "ensure", count)
    built = await make(pool_memory=1024)
    built.open()
    await built.until(lambda: bool(asked))
    for _ in range(3):
        launched = await built.launch()
        assert launched.way is Way.COLD and "the machine has less memory than 512 MiB" in launched.note
    assert built.machine.templates_made == 0
    assert len(asked) == 1  # whoever fills the pool does not ask again and again


async def test_waiting_vms_are_given_up_for_something_better(pooled: Workshop) -> None:
    await pooled.filled(2)
    held = pooled.factory.figures().pooled_bytes
    with pooled.factory.foreground():
        assert await pooled.factory.give_up(1) == held // 2
        assert await pooled.factory.give_up(10 * held) == held // 2
        assert pooled.machine.running() == []


async def test_nothing_is_made_ready_while_somebody_waits_for_a_start(make: Opener) -> None:
    built = await make(pool_memory=1024)
    with built.factory.foreground():
        built.open()
        await asyncio.sleep(0.3)
        assert built.machine.running() == []
    await built.filled(2)


async def test_waiting_vms_that_die_are_replaced(pooled: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "LOOK", 0.05)
    dead = set(pooled.machine.running())
    for vm_id in dead:
        pooled.machine.crash(vm_id)
    with pooled.factory.foreground():
        pass
    await pooled.until(lambda: len(set(pooled.machine.running()) - dead) == 2)
    assert dead.isdisjoint(pooled.machine.vms)


async def test_clones_that_cannot_be_warmed_do_not_wait_and_are_not_made_in_a_loop(
    make: Opener,
) -> None:
    built = await make(pool_memory=1024)
    built.machine.clone_faults = Faults(errors={"container.create": ("internal", "no")})
    built.open()
    await built.templated()
    await asyncio.sleep(0.5)
    assert built.factory.figures().pooled == {}
    assert built.machine.running() == []
    assert built.machine.launches <= 3, "the template, the proof that it works, and one trial"


async def test_closing_ends_what_is_nobodys_and_nothing_else(pooled: Workshop) -> None:
    mine = await pooled.launch()
    await pooled.factory.close()
    assert pooled.machine.running() == [mine.vm.id]


async def test_templates_that_nobody_used_for_a_while_are_dropped(workshop: Workshop) -> None:
    now = 1000.0
    templates = workshop.factory._templates
    templates._clock = lambda: now
    await workshop.launch()
    await workshop.templated()
    now += 1000.0
    assert not templates.drop_unused(set())
    now += 1000.0
    assert not templates.drop_unused({workshop.key(specification())})
    assert templates.drop_unused(set())
    assert workshop.factory.figures().templates == 0


async def test_the_template_that_was_not_used_for_longest_makes_room(workshop: Workshop) -> None:
    shapes = [specification(memory_mib=64 + 8 * number) for number in range(9)]
    for number, shape in enumerate(shapes):
        await workshop.launch(spec=shape)
        await workshop.templated(min(number + 1, 8))
    await workshop.until(lambda: workshop.key(shapes[8]) in workshop.factory._templates._kept)
    kept = set(workshop.factory._templates._kept)
    assert kept == {workshop.key(shape) for shape in shapes[1:]}
