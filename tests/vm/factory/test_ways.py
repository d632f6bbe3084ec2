# SPDX-License-Identifier: Apache-2.0
"""Which way a VM comes about, and what happens when a way fails."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.errors import NoSpace, VmFailed
from hypercell.vm.driver import Disk, ExitReason, Slot, VmSpec
from hypercell.vm.factory import Isolation, Way
from tests.support.machine import MachineVm
from tests.support.workshop import Customer, Opener, Spare, Workshop, specification


async def test_the_first_vm_boots_cold_and_the_next_is_a_clone(workshop: Workshop) -> None:
    first = await workshop.launch()
    assert (first.way, first.agent) == (Way.COLD, None)
    assert "its template is being built" in first.note
    await workshop.templated()
    second = await workshop.launch()
    assert second.way is Way.TEMPLATE and second.agent is not None
    assert second.note == "no VM of this size was waiting"
    assert workshop.machine.vms[second.vm.id].template != ""


async def test_each_shape_has_a_template_of_its_own(workshop: Workshop) -> None:
    await workshop.launch()
    await workshop.templated()
    other = await workshop.launch(spec=specification(memory_mib=1024))
    assert other.way is Way.COLD
    await workshop.templated(2)
    assert workshop.machine.templates_made == 2


async def test_many_first_starts_make_one_template(workshop: Workshop) -> None:
    launched = await asyncio.gather(*(workshop.launch() for _ in range(8)))
    assert {one.way for one in launched} == {Way.COLD}
    await workshop.templated()
    assert workshop.machine.templates_made == 1


async def test_a_waiting_vm_is_claimed_with_disks_and_tap(pooled: Workshop, tmp_path: Any) -> None:
    customer = Customer()
    root = Disk(tmp_path / "root.erofs", read_only=True)
    spec = specification(disks={Slot.ROOT: root})
    launched = await pooled.launch(customer, spec=spec)
    assert (launched.way, launched.note, launched.vm.id) == (Way.POOL, "", spec.id)
    assert customer.vm is launched.vm and customer.opened == 0 and len(customer.given) == 1
    assert pooled.machine.disks[spec.id] == {"root": str(root.path)}
    assert launched.agent is not None
    await launched.agent.request("ping")


async def test_a_waiting_vm_tells_its_events_to_who_claimed_it(pooled: Workshop) -> None:
    customer = Customer()
    launched = await pooled.launch(customer)
    pooled.machine.guest(launched.vm.id).event("container.oom", container="c1")
    await pooled.until(lambda: bool(customer.events))
    assert customer.events[0]["event"] == "container.oom"


async def test_two_starts_do_not_get_the_same_vm(make: Opener) -> None:
    built = await make(pool_memory=60)
    built.open()
    await built.filled(1)
    launched = await asyncio.gather(*(built.launch() for _ in range(3)))
    assert sorted(one.way for one in launched) == [Way.POOL, Way.TEMPLATE, Way.TEMPLATE]
    assert len({one.vm.id for one in launched}) == 3


async def test_cold_isolation_is_nobodys_clone(pooled: Workshop) -> None:
    launched = await pooled.launch(isolation=Isolation.COLD)
    assert (launched.way, launched.note) == (Way.COLD, "isolation is cold")
    assert pooled.machine.vms[launched.vm.id].template == ""


async def test_an_operator_can_isolate_everybody_and_a_tenant_choose_otherwise(make: Opener) -> None:
    built = await make(isolation="cold", pool_memory=1024)
    built.open()
    assert (await built.launch()).way is Way.COLD
    assert built.machine.templates_made == 0
    await built.launch(isolation=Isolation.SHARED)
    await built.templated()
    assert (await built.launch(isolation=Isolation.SHARED)).way in (Way.TEMPLATE, Way.POOL)


async def test_a_vm_that_must_boot_does_so_in_a_fork_of_a_zygote_once_there_is_one(make: Opener) -> None:
    built = await make(isolation="cold", zygotes=True)
    built.open()
    first, customer = await built.launch(), Customer()
    assert (first.way, first.agent, first.key) == (Way.COLD, None, "")
    assert first.note == "isolation is cold; its zygote is being built"
    await built.templated()
    second = await built.launch(customer)
    assert (second.way, second.note) == (Way.COLD, "isolation is cold")
    assert second.agent is not None and customer.booted == 1
    assert built.machine.vms[second.vm.id].template == built.key(specification())
    assert (await built.launch(spec=specification(vcpus=2))).agent is None


async def test_nobody_who_may_share_pages_has_a_zygote_made(make: Opener) -> None:
    built = await make(zygotes=True)
    await built.launch()
    await built.templated()
    assert (await built.launch()).way is Way.TEMPLATE
    assert built.machine.templates_made == 1


async def test_a_zygote_of_which_nothing_boots_is_dropped_and_the_start_goes_without(make: Opener) -> None:
    built = await make(isolation="cold", zygotes=True)
    await built.launch()
    await built.templated()
    built.machine.clone_faults = Faults(mute=True)
    launched = await built.launch()
    assert (launched.way, launched.agent, launched.key) == (Way.COLD, None, "")
    figures = built.factory.figures()
    assert (figures.templates, figures.fallbacks) == (0, 1)
    assert built.machine.running() == [*built.machine.running()[:1], launched.vm.id]


async def test_a_vm_that_is_rejected_takes_its_zygote_with_it(make: Opener) -> None:
    built = await make(isolation="cold", zygotes=True)
    await built.launch()
    await built.templated()
    launched = await built.launch()
    await built.factory.reject(launched, "it is a twin")
    assert built.factory.figures().templates == 0
    assert launched.vm.id not in built.machine.running()
    assert (await built.launch()).key == ""


@pytest.mark.parametrize("faults", [Faults(mute=True), Faults(die_at=1)], ids=["mute", "dying"])
async def test_a_clone_that_does_not_come_up_drops_its_template_and_the_start_goes_cold(
    workshop: Workshop, faults: Faults
) -> None:
    await workshop.launch()
    await workshop.templated()
    workshop.machine.clone_faults = Faults(mute=True)
    customer = Customer()
    if faults.die_at:
        customer.on_found = lambda: _die_once(workshop, customer)
    launched = await workshop.launch(customer)
    assert launched.way is Way.COLD
    assert "its template is damaged: a clone did not come up" in launched.note
    figures = workshop.factory.figures()
    assert (figures.templates, figures.fallbacks) == (0, 1)
    assert launched.vm.id in workshop.machine.running()


def _die_once(workshop: Workshop, customer: Customer) -> None:
    customer.on_found = lambda: None
    assert customer.vm is not None
    workshop.machine.crash(customer.vm.id, ExitReason.KILLED)


async def test_a_template_that_was_dropped_is_built_again_later_and_not_at_once(workshop: Workshop) -> None:
    now = 1000.0
    workshop.factory._templates._clock = lambda: now
    await workshop.launch()
    await workshop.templated()
    workshop.machine.clone_faults = Faults(mute=True)
    await workshop.launch()
    workshop.machine.clone_faults = None
    launched = await workshop.launch()
    assert launched.way is Way.COLD and "will be built again later" in launched.note
    assert workshop.machine.templates_made == 1
    now += 6.0
    await workshop.launch()
    await workshop.templated()
    assert (await workshop.launch()).way is Way.TEMPLATE


async def test_a_template_whose_clone_does_not_answer_is_never_used(workshop: Workshop) -> None:
    workshop.machine.clone_faults = Faults(mute=True)
    await workshop.launch()
    await workshop.until(lambda: not workshop.factory._templates._builds)
    assert workshop.factory.figures().templates == 0
    assert len(workshop.machine.running()) == 1


async def test_a_failing_build_is_told_and_tried_less_and_less_often(workshop: Workshop) -> None:
    now = 1000.0
    workshop.factory._templates._clock = lambda: now
    workshop.machine.refuse_templates = "no room"
    tries = []
    for _ in range(40):
        launched = await workshop.launch()
        assert launched.way is Way.COLD
        if "is being built" in launched.note:
            tries.append(now)
            await workshop.until(lambda: not workshop.factory._templates._builds)
        else:
            assert "no room" in launched.note
        now += 5.0
    gaps = [after - before for before, after in itertools.pairwise(tries)]
    assert gaps == sorted(gaps) and gaps[-1] >= 4 * gaps[0]


async def test_a_waiting_vm_that_died_is_not_handed_out(pooled: Workshop) -> None:
    for vm_id in list(pooled.machine.running()):
        pooled.machine.crash(vm_id)
    launched = await pooled.launch()
    assert launched.way is Way.TEMPLATE
    await launched.agent.request("ping")  # type: ignore[union-attr]


async def test_a_claim_that_fails_leaves_nothing_and_the_next_way_is_gone(pooled: Workshop) -> None:
    customer = Customer()
    failed = []

    async def fail(spare: str) -> None:
        failed.append(spare)
        raise VmFailed("no such tap", "hypervisor-failed")

    customer.give = fail  # type: ignore[method-assign]
    with pooled.factory.foreground():
        launched = await pooled.factory.launch(specification(), customer)
        assert failed and launched.way is Way.TEMPLATE
        assert "a waiting VM could not be claimed" in launched.note
        assert len(pooled.machine.running()) == 2, "one waits, one was launched, the failed one is gone"


async def test_a_full_disk_is_not_blamed_on_the_template(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    await workshop.launch()
    await workshop.templated()
    launch = workshop.driver.launch

    async def full(spec: VmSpec) -> MachineVm:
        if spec.template is None:
            return await launch(spec)
        raise NoSpace("no space to start a VM")

    monkeypatch.setattr(workshop.driver, "launch", full)
    launched = await workshop.launch()
    assert launched.way is Way.COLD and "no space to start a VM" in launched.note
    assert workshop.factory.figures().templates == 1


async def test_nobody_waits_for_a_clone_that_nobody_wants(workshop: Workshop) -> None:
    await workshop.launch()
    await workshop.templated()
    workshop.machine.clone_faults = Faults(mute=True)
    customer = Customer()
    customer.on_found = lambda: setattr(customer, "wanted", False)
    with pytest.raises(VmFailed):
        await workshop.launch(customer)
    figures = workshop.factory.figures()
    assert (figures.templates, figures.fallbacks) == (1, 0), "the template is not to blame"
    assert len(workshop.machine.running()) == 1


@pytest.mark.parametrize("way", [Way.COLD, Way.TEMPLATE, Way.POOL])
async def test_a_launch_that_is_cancelled_leaves_nothing(make: Opener, way: Way) -> None:
    built = await make(pool_memory=60)
    if way is Way.POOL:
        built.open()
        await built.filled(1)
    elif way is Way.TEMPLATE:
        await built.launch()
        await built.templated()
    before = set(built.machine.running())
    customer, reached = Customer(), asyncio.Event()

    async def hang(spare: str = "") -> int:
        reached.set()
        await asyncio.sleep(60)
        return 0

    customer.give = customer.open = hang  # type: ignore[method-assign,assignment]
    with built.factory.foreground():
        task = asyncio.ensure_future(built.factory.launch(specification(), customer))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = set(built.machine.running())
    assert left <= before and len(left) == len(before) - (way is Way.POOL)


async def test_a_vm_that_was_rejected_takes_its_kin_with_it(pooled: Workshop) -> None:
    launched = await pooled.launch()
    await pooled.factory.reject(launched, "its boot id is that of another VM")
    await pooled.until(lambda: not pooled.machine.running())
    figures = pooled.factory.figures()
    assert (figures.templates, figures.pooled, figures.fallbacks) == (0, {}, 1)
    assert (await pooled.launch()).way is Way.COLD


async def test_a_vm_that_is_being_made_when_its_template_is_dropped_is_given_to_nobody(make: Opener) -> None:
    built = await make(pool_memory=1024)
    await built.launch()
    await built.templated()
    launched, spare = await built.launch(), built.factory._filler._spare
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def held() -> Spare:
        reached.set()
        await go_on.wait()
        return await spare()

    built.factory._filler._spare = held
    built.open()
    await reached.wait()
    before = built.machine.launches
    await built.factory.reject(launched, "its boot id is that of another VM")
    others = set(built.machine.running())
    go_on.set()
    await built.until(lambda: built.machine.launches > before and set(built.machine.running()) == others)
    assert built.factory.figures().pooled == {}


async def test_a_driver_that_cannot_clone_boots(make: Opener) -> None:
    built = await make(pool_memory=1024)
    built.factory._clones = False
    built.open()
    launched = await built.launch()
    assert (launched.way, launched.note) == (Way.COLD, "")
