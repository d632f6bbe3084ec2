# SPDX-License-Identifier: Apache-2.0
"""What every driver promises (`vm/driver.py`), held against the real one and the fake."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from hypercell.base.errors import Conflict, HypercellError, InvalidArgument, Unsupported, VmFailed
from hypercell.vm.driver import DEVICE_MAC, Disk, ExitReason, Nic, Shared, Slot, Vm
from tests.support.vm import boot_id, greet, image
from tests.vm.rig import Rig


def closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


async def test_a_launched_vm_greets(rig: Rig) -> None:
    spec = rig.specification()
    vm = await rig.driver.launch(spec)
    agent = await greet(vm)
    assert agent.welcome.fresh
    assert await agent.request("ping") == {}
    assert vm.id == spec.id
    assert vm.accelerator == rig.driver.capabilities.accelerator
    assert await rig.driver.known() == [spec.id]
    await agent.close()


async def test_who_hangs_up_may_call_again(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    first = await greet(vm)
    name = await boot_id(first)
    await first.close()
    second = await greet(vm)
    assert second.welcome.boot_id == name
    await second.close()


async def test_every_waiter_learns_the_end(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    waiters = [asyncio.create_task(vm.wait()) for _ in range(3)]
    await vm.kill()
    ends = await asyncio.gather(*waiters, vm.wait())
    assert [end.reason for end in ends] == [ExitReason.SHUTDOWN] * 4
    await vm.kill()


async def test_a_waiter_that_gives_up_does_not_disturb_the_others(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    impatient, patient = asyncio.create_task(vm.wait()), asyncio.create_task(vm.wait())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    await vm.kill()
    assert (await patient).reason is ExitReason.SHUTDOWN


async def test_a_shutdown_that_was_announced_is_a_shutdown(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    agent = await greet(vm)
    vm.expect_shutdown()
    await agent.request("shutdown", {"timeout_ms": 1000})
    assert (await vm.wait()).reason is ExitReason.SHUTDOWN
    await agent.close()


async def test_a_guest_that_resets_unasked_is_told_apart(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    agent = await greet(vm)
    await agent.request("shutdown", {"timeout_ms": 1000})
    assert (await vm.wait()).reason is ExitReason.GUEST_RESET
    await agent.close()


async def test_a_killed_hypervisor_is_told_apart(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    rig.murder(vm)
    end = await vm.wait()
    assert end.reason is ExitReason.KILLED
    assert "SIGKILL" in end.detail


async def test_a_kernel_panic_is_told_apart_with_the_kernels_words(rig: Rig) -> None:
    vm = await rig.panicking()
    end = await vm.wait()
    assert end.reason is ExitReason.GUEST_PANIC
    assert end.detail.startswith("Kernel panic - not syncing")
    assert "Kernel panic" in await vm.console()


async def test_a_vm_that_ended_says_so_to_who_comes_late(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    rig.murder(vm)
    await vm.wait()
    with pytest.raises(VmFailed) as caught:
        await vm.connect_agent()
    assert caught.value.reason == "hypervisor-killed"
    with pytest.raises(VmFailed):
        await vm.pause()


async def test_a_paused_guest_stands_still_and_goes_on(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    agent = await greet(vm)
    await vm.pause()
    with pytest.raises(VmFailed) as caught:
        await agent.request("ping", timeout=0.3)
    assert caught.value.reason == "agent-lost"
    await vm.resume()
    assert await agent.request("ping") == {}
    await agent.close()


async def test_a_vm_outlives_its_driver_and_is_adopted(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    agent = await greet(vm)
    name = await boot_id(agent)
    await rig.restart()
    await agent.close()

    assert await rig.driver.known() == [vm.id]
    adopted = await rig.driver.adopt(vm.id)
    assert adopted is not None
    assert (adopted.id, adopted.pid, adopted.accelerator) == (vm.id, vm.pid, vm.accelerator)
    again = await greet(adopted)
    assert again.welcome.boot_id == name
    await again.close()
    rig.murder(adopted)
    assert (await adopted.wait()).reason is ExitReason.KILLED


async def test_an_adopted_vm_is_adopted_once(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    assert await rig.driver.adopt(vm.id) is vm


async def test_a_vm_that_ended_unwatched_is_not_adopted_and_leaves_nothing(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    await rig.driver.close()
    rig.murder(vm)
    await rig.restart()
    assert await rig.driver.adopt(vm.id) is None
    assert await rig.driver.known() == []


async def test_nobody_adopts_what_never_was(rig: Rig) -> None:
    assert await rig.driver.adopt("0" * 64) is None
    assert await rig.driver.known() == []


async def test_discarding_ends_a_vm_and_may_be_repeated(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    waiter = asyncio.create_task(vm.wait())
    await asyncio.sleep(0)
    await rig.driver.discard(vm.id)
    assert (await waiter).reason is ExitReason.SHUTDOWN
    assert await rig.driver.known() == []
    await rig.driver.discard(vm.id)
    await rig.driver.discard("f" * 64)


async def test_two_vms_do_not_share_an_id(rig: Rig) -> None:
    spec = rig.specification()
    vm = await rig.driver.launch(spec)
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(spec)
    agent = await greet(vm)
    await agent.close()


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a\0b", "-x", "a,b", "x" * 200])
async def test_an_id_that_is_no_name_is_refused(rig: Rig, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(rig.specification(id=name))
    with pytest.raises(InvalidArgument):
        await rig.driver.discard(name)
    assert await rig.driver.known() == []


async def test_a_disk_that_is_no_file_is_refused(rig: Rig, tmp_path: Path) -> None:
    real = image(tmp_path / "real")
    link = tmp_path / "link"
    link.symlink_to(real)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path, tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(InvalidArgument):
            await rig.driver.launch(rig.specification(disks={Slot.ROOT: Disk(path, read_only=True)}))
    assert await rig.driver.known() == []


async def test_more_processors_than_there_can_be_are_refused(rig: Rig) -> None:
    for vcpus in (0, -1, rig.driver.capabilities.max_vcpus + 1):
        with pytest.raises(InvalidArgument):
            await rig.driver.launch(rig.specification(vcpus=vcpus))


async def test_a_tap_is_consumed_by_a_launch_that_fails(rig: Rig, tmp_path: Path) -> None:
    descriptor = os.open("/dev/null", os.O_RDWR)
    nic = Nic(descriptor, DEVICE_MAC)
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(
            rig.specification(nic=nic, disks={Slot.ROOT: Disk(tmp_path / "missing", read_only=True)})
        )
    assert closed(descriptor)


async def test_the_host_counts_what_a_vm_costs(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    agent = await greet(vm)
    before = await vm.host_usage()
    await agent.request("ping")
    after = await vm.host_usage()
    assert 0 < before.cpu_ns <= after.cpu_ns
    assert after.rss_bytes >= after.pss_bytes >= after.own_bytes > 1024**2
    await agent.close()
    await vm.kill()
    ended = await vm.host_usage()
    assert (ended.rss_bytes, ended.pss_bytes, ended.own_bytes) == (0, 0, 0)


async def test_what_a_driver_cannot_do_is_recorded(rig: Rig) -> None:
    capabilities = rig.driver.capabilities
    assert capabilities.pause
    assert capabilities.adopt
    assert capabilities.templates
    assert capabilities.real == (rig.driver.name == "qemu")
    assert capabilities.accelerator in ("kvm", "tcg", "none")


async def test_the_card_is_born_with_the_address_of_all(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    assert vm.device_mac == DEVICE_MAC


async def test_a_template_leaves_no_vm_and_its_clones_greet(rig: Rig) -> None:
    template = await rig.template()
    assert template.key == rig.driver.template_key(rig.specification())
    assert template.bytes > 1024**2
    assert await rig.driver.known() == []
    for _ in range(2):
        vm = await rig.driver.launch(rig.specification(template=template))
        assert vm.device_mac == DEVICE_MAC
        agent = await greet(vm)
        assert agent.welcome.fresh
        assert await agent.request("ping") == {}
        await agent.close()
    template.close()


async def test_clones_are_strangers_once_they_have_entropy(rig: Rig) -> None:
    template = await rig.template()
    names = set()
    for _ in range(3):
        agent = await greet(await rig.driver.launch(rig.specification(template=template)))
        names.add(await boot_id(agent))
        await agent.close()
    template.close()
    assert len(names) == 3


async def test_what_a_zygote_is_forked_into_boots_and_is_a_stranger_from_the_start(rig: Rig) -> None:
    if not rig.driver.capabilities.zygotes:
        pytest.skip("a driver without zygotes")
    zygote = await rig.zygote()
    assert await rig.driver.known() == []
    names = set()
    for _ in range(3):
        agent = await greet(await rig.driver.launch(rig.specification(template=zygote)))
        assert agent.welcome.fresh
        names.add(await boot_id(agent, b"the same entropy for all of them"))
        await agent.close()
    zygote.close()
    assert len(names) == 3


async def test_a_driver_without_zygotes_says_so_and_consumes_the_tap(rig: Rig) -> None:
    if rig.driver.capabilities.zygotes:
        pytest.skip("a driver with zygotes")
    descriptor = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(Unsupported):
        await rig.driver.make_zygote(rig.specification(nic=Nic(descriptor, DEVICE_MAC)), greeted)
    assert closed(descriptor)


async def test_clones_go_on_when_their_template_is_closed(rig: Rig) -> None:
    template = await rig.template()
    vm = await rig.driver.launch(rig.specification(template=template))
    agent = await greet(vm)
    template.close()
    template.close()
    assert await agent.request("ping") == {}
    await agent.close()
    with pytest.raises(HypercellError):
        await rig.driver.launch(rig.specification(template=template))
    assert await rig.driver.known() == [vm.id]


async def test_a_closed_template_holds_nothing(rig: Rig) -> None:
    template = await rig.template()
    template.close()
    assert template.bytes == 0


async def test_the_key_of_a_template_tells_shapes_apart_and_nothing_else(rig: Rig, tmp_path: Path) -> None:
    key = rig.driver.template_key
    spec = rig.specification()
    same = rig.specification(cpu_quota=0.5, disks={Slot.ROOT: Disk(image(tmp_path / "image"), read_only=True)})
    assert key(spec) == key(same)
    others = [rig.specification(memory_mib=spec.memory_mib * 2), rig.specification(vcpus=2)]
    assert len({key(spec), *map(key, others)}) == 3


async def test_a_template_of_another_shape_is_refused_and_nothing_is_left(rig: Rig) -> None:
    template = await rig.template()
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(rig.specification(vcpus=2, template=template))
    assert await rig.driver.known() == []
    template.close()


async def test_what_settling_raises_is_raised_and_nothing_is_left(rig: Rig) -> None:
    async def unsettled(vm: Vm) -> None:
        raise KeyError(vm.id)

    spec = rig.specification(disks={})
    with pytest.raises(KeyError, match=spec.id):
        await rig.driver.make_template(spec, unsettled)
    assert await rig.driver.known() == []


async def test_a_tap_is_consumed_by_a_template_that_cannot_be_made(rig: Rig) -> None:
    descriptor = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(InvalidArgument):
        await rig.driver.make_template(rig.specification(id="../up", nic=Nic(descriptor, DEVICE_MAC)), greeted)
    assert closed(descriptor)


async def greeted(vm: Vm) -> None:
    await (await greet(vm)).close()


async def test_a_clone_outlives_its_driver_and_is_adopted(rig: Rig) -> None:
    template = await rig.template()
    vm = await rig.driver.launch(rig.specification(template=template))
    agent = await greet(vm)
    name = await boot_id(agent)
    template.close()
    await rig.restart()
    await agent.close()
    adopted = await rig.driver.adopt(vm.id)
    assert adopted is not None
    assert adopted.pid == vm.pid
    again = await greet(adopted)
    assert again.welcome.boot_id == name
    await again.close()


async def test_a_claimed_vm_goes_by_its_new_name_and_goes_on(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification(disks={}))
    agent = await greet(vm)
    old, spec = vm.id, rig.specification()
    claimed = await rig.driver.claim(old, spec)
    assert claimed is vm
    assert claimed.id == spec.id
    assert await rig.driver.known() == [spec.id]
    assert await agent.request("ping") == {}
    await agent.close()
    again = await greet(claimed)
    await again.close()
    assert await rig.driver.adopt(old) is None
    assert await rig.driver.adopt(spec.id) is vm
    rig.murder(claimed)
    assert (await claimed.wait()).reason is ExitReason.KILLED
    await rig.driver.discard(spec.id)
    assert await rig.driver.known() == []


async def test_a_claimed_vm_outlives_its_driver_and_is_adopted(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification(disks={}))
    old, spec = vm.id, rig.specification()
    await rig.driver.claim(old, spec)
    await rig.restart()
    assert await rig.driver.known() == [spec.id]
    assert await rig.driver.adopt(old) is None
    adopted = await rig.driver.adopt(spec.id)
    assert adopted is not None
    assert (adopted.id, adopted.pid) == (spec.id, vm.pid)
    agent = await greet(adopted)
    await agent.close()
    await rig.driver.discard(spec.id)
    assert await rig.driver.known() == []


async def test_a_claim_that_is_refused_leaves_the_vm_as_it_was(rig: Rig, tmp_path: Path) -> None:
    vm = await rig.driver.launch(rig.specification(disks={}))
    other = await rig.driver.launch(rig.specification())
    missing = {Slot.ROOT: Disk(tmp_path / "missing", read_only=True)}
    for name, spec in (
        (vm.id, rig.specification(id=other.id, disks={})),
        (vm.id, rig.specification(id=vm.id, disks={})),
        (vm.id, rig.specification(id="../up", disks={})),
        (vm.id, rig.specification(disks=missing)),
        ("0" * 64, rig.specification()),
        ("../up", rig.specification()),
    ):
        old = vm.id
        with pytest.raises(InvalidArgument):
            await rig.driver.claim(name, spec)
        assert vm.id == old
        assert await rig.driver.known() == sorted([vm.id, other.id])
    agent = await greet(vm)
    await agent.close()


async def test_a_vm_that_has_ended_is_not_claimed(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification(disks={}))
    old, spec = vm.id, rig.specification()
    rig.murder(vm)
    await vm.wait()
    with pytest.raises(VmFailed):
        await rig.driver.claim(old, spec)
    for name in (old, spec.id):
        await rig.driver.discard(name)
    assert await rig.driver.known() == []


def formatted(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(path)], check=True)
    return path


async def test_plugged_disks_are_found_by_their_names_and_taken_away_again(rig: Rig, tmp_path: Path) -> None:
    vm = await rig.driver.launch(rig.specification())
    agent = await greet(vm)
    for name in ("v0", "v1"):
        await vm.plug(name, Disk(formatted(tmp_path / name), read_only=False))
    if rig.driver.capabilities.real:
        for name in ("v0", "v1"):
            await agent.request("container.create", holding(name, name))
            await agent.request("container.delete", {"container": name, "force": True})
    await vm.unplug("v1")
    await vm.plug("v1", Disk(tmp_path / "v1", read_only=True))
    await agent.close()


async def test_a_name_of_a_plugged_disk_is_one_of_one_disk(rig: Rig, tmp_path: Path) -> None:
    vm = await rig.driver.launch(rig.specification())
    disk = Disk(formatted(tmp_path / "disk"), read_only=True)
    for name in ("", "root", "rw", "A", "a" * 21, "a,b", "a/b"):
        with pytest.raises(InvalidArgument):
            await vm.plug(name, disk)
    await vm.plug("v0", disk)
    with pytest.raises(InvalidArgument, match="already"):
        await vm.plug("v0", disk)
    with pytest.raises(InvalidArgument):
        await vm.plug("v1", Disk(tmp_path, read_only=True))
    with pytest.raises(InvalidArgument):
        await vm.unplug("v1")


async def test_a_plugged_disk_is_written_by_one_vm_or_read_by_many(rig: Rig, tmp_path: Path) -> None:
    one, two = [await rig.driver.launch(rig.specification(id=name)) for name in ("one", "two")]
    path = formatted(tmp_path / "disk")
    await one.plug("v0", Disk(path, read_only=False))
    for read_only in (False, True):
        with pytest.raises(Conflict):
            await two.plug("v0", Disk(path, read_only))
    await one.unplug("v0")
    await one.plug("v0", Disk(path, read_only=True))
    await two.plug("v0", Disk(path, read_only=True))
    await two.unplug("v0")
    with pytest.raises(Conflict):
        await two.plug("v0", Disk(path, read_only=False))
    await one.kill()
    await one.wait()
    await two.plug("v0", Disk(path, read_only=False))


async def test_a_plugged_disk_stays_through_a_change_of_daemons(rig: Rig, tmp_path: Path) -> None:
    vm = await rig.driver.launch(rig.specification())
    await vm.plug("v0", Disk(formatted(tmp_path / "disk"), read_only=False))
    await rig.restart()
    adopted = await rig.driver.adopt(vm.id)
    assert adopted is not None
    with pytest.raises(InvalidArgument, match="already"):
        await adopted.plug("v0", Disk(tmp_path / "disk", read_only=False))
    await adopted.unplug("v0")


async def test_a_clone_takes_plugged_disks_as_any_vm(rig: Rig, tmp_path: Path) -> None:
    template = await rig.template()
    vm = await rig.driver.launch(rig.specification(template=template))
    await vm.plug("v0", Disk(formatted(tmp_path / "disk"), read_only=False))
    if rig.driver.capabilities.real:
        agent = await greet(vm)
        await agent.request("container.create", holding("c", "v0"))
        await agent.close()


def holding(container: str, disk: str) -> dict[str, object]:
    """A container whose whole root is *disk*: that it can be made is the proof that the disk is there."""
    process = {"args": ["/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    linux = {"namespaces": [{"type": "mount"}]}
    return {
        "container": container,
        "root": {"lower": [], "upper": {"disk": disk, "fstype": "ext4"}},
        "config": {"ociVersion": "1.1.0", "process": process, "mounts": [], "linux": linux},
        "files": [],
    }


async def test_files_of_the_host_are_for_no_clone_and_must_be_there(rig: Rig, tmp_path: Path) -> None:
    assert rig.driver.capabilities.shares
    template = await rig.template()
    shared = (Shared(tmp_path, read_only=True),)
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(rig.specification(template=template, shared=shared))
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(rig.specification(shared=(Shared(tmp_path / "missing", read_only=True),)))
    assert await rig.driver.known() == []
    vm = await rig.driver.launch(rig.specification(shared=shared))
    await rig.restart()
    adopted = await rig.driver.adopt(vm.id)
    assert adopted is not None
    agent = await greet(adopted)
    assert await agent.request("ping") == {}
    await agent.close()
