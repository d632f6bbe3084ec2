# SPDX-License-Identifier: Apache-2.0
"""Clones of a template: each kernel's run, share nothing that can be changed, and say why when they cannot run."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument, VmFailed
from hypercell.vm import memfd, migration
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import SLOT_BYTES, Disk, ExitReason, Slot, Template
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.template import QemuTemplate
from tests.support.house import eventually
from tests.support.vm import boot_id, greet, guest_kernel, image, open_files, settings, traces
from tests.vm.rig import Rig, qemu_rig

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(params=["own", "distribution"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    config = settings(tmp_path, kernel=request.param)
    rig = qemu_rig(config, guest_kernel(config))
    before = traces(config)
    yield rig
    await rig.clean_up()
    after = traces(config)
    assert (after.directories, after.groups, after.processes) == (before.directories, before.groups, before.processes)


@pytest.fixture
async def template(rig: Rig) -> AsyncIterator[QemuTemplate]:
    made = await rig.template()
    assert isinstance(made, QemuTemplate)
    yield made
    made.close()


async def cloned(rig: Rig, template: Template, **other: Any) -> QemuVm:
    vm = await rig.driver.launch(rig.specification(template=template, **other))
    assert isinstance(vm, QemuVm)
    return vm


async def ask(vm: QemuVm, command: str, **arguments: object) -> Any:
    assert vm._qmp is not None
    return await vm._qmp.execute(command, **arguments)


async def test_what_one_clone_changes_no_other_sees(rig: Rig, template: QemuTemplate) -> None:
    names = []
    for number in range(2):
        agent = await greet(await cloned(rig, template))
        assert agent.welcome.fresh
        assert agent.welcome.boot_id == ""
        await agent.request("configure", {"hostname": f"clone{number}"})
        names.append(await boot_id(agent))
        await agent.close()
    late = await greet(await cloned(rig, template))
    assert late.welcome.fresh
    names.append(await boot_id(late))
    await late.close()
    assert len(set(names)) == 3


async def test_each_clone_has_its_own_disks_and_no_other(rig: Rig, template: QemuTemplate, tmp_path: Path) -> None:
    root = Disk(image(tmp_path / "root.img"), read_only=True)
    specs = [rig.specification(template=template) for _ in range(2)]
    specs = [replace(spec, disks={**spec.disks, Slot.ROOT: root}) for spec in specs]
    for spec in specs:
        vm = await rig.driver.launch(spec)
        assert isinstance(vm, QemuVm)
        await vm.running()
        assert await inserted(vm) == {slot: str(disk.path) for slot, disk in spec.disks.items()}


async def inserted(vm: QemuVm) -> dict[str, str]:
    """Slot -> path of what is in it, by what is really open."""
    found = {}
    for block in await ask(vm, "query-block"):
        node = block["inserted"]
        if node["drv"] == "raw":
            slot = re.sub(r".*disk-([a-z]+).*", r"\1", block["qdev"])
            number = re.sub(r".*/", "", node["image"]["filename"])
            found[slot] = number
    sets = {str(each["fdset-id"]): each["fds"][0]["fd"] for each in await ask(vm, "query-fdsets")}
    return {slot: str((Path("/proc") / str(vm.pid) / "fd" / str(sets[n])).readlink()) for slot, n in found.items()}


async def test_a_clone_holds_exactly_the_descriptors_it_needs(rig: Rig, template: QemuTemplate) -> None:
    vm = await cloned(rig, template, disks={})
    await restored(vm)
    found = [re.sub(r"\[\d+\]", "", name) for name in open_files(vm.pid)]
    files = sorted(name for name in found if not name.startswith(("socket:", "anon_inode:")))
    log = str(rig.config.vms / vm.id / "log.pipe")
    memory = "/memfd:hypercell-memory (deleted)"
    assert files == sorted(["/dev/null", log, log, memory, memory])


async def restored(vm: QemuVm) -> None:
    """It runs, and has let go of the state from which it was restored, which comes just after."""

    async def gone() -> bool:
        return not any("hypercell-state" in name for name in open_files(vm.pid))

    await vm.running()
    await eventually(gone)


_VANDAL = r"""
import ctypes, errno, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
directory, user, done = sys.argv[1], int(sys.argv[2]), []
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
for name in os.listdir(directory):
    path = f"{directory}/{name}"
    if "memfd:hypercell" not in os.readlink(path):
        continue
    file = os.open(path, os.O_RDWR)
    size = os.fstat(file).st_size
    attempts = {
        "write": lambda: os.pwrite(file, b"evil", 1 << 20),
        "shrink": lambda: os.ftruncate(file, 4096),
        "grow": lambda: os.ftruncate(file, size + 4096),
        "map": lambda: mmap.mmap(file, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    }
    for what, attempt in attempts.items():
        try:
            attempt()
            print(what, "was possible")
        except PermissionError:
            done.append(what)
    if libc.fallocate(file, 3, ctypes.c_long(0), ctypes.c_long(1 << 20)) == 0 or ctypes.get_errno() != errno.EPERM:
        print("a hole was possible")
    done.append("hole")
print(sorted(done))
"""


async def test_a_hypervisor_cannot_alter_the_template(rig: Rig, template: QemuTemplate) -> None:
    vm = await cloned(rig, template)
    await restored(vm)
    vandal = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-S", "-c", _VANDAL, f"/proc/{vm.pid}/fd", str(vm.record.uid)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert vandal.stdout.strip() == str(sorted(["write", "shrink", "grow", "map", "hole"] * 2))


async def test_a_template_is_sealed(template: QemuTemplate) -> None:
    assert memfd.sealed(template._memory)
    assert memfd.sealed(template._state)
    assert template.bytes > 1024**2


async def test_a_state_that_was_cut_off_ends_the_clone_with_a_reason(rig: Rig, template: QemuTemplate) -> None:
    size = os.fstat(template._state).st_size
    for kept in (0, 100, size // 2):
        damaged = memfd.create("damaged")
        os.pwrite(damaged, os.pread(template._state, kept, 0), 0)
        bad = QemuTemplate(template.key, os.dup(template._memory), damaged)
        vm = await cloned(rig, bad)
        bad.close()
        end = await vm.wait()
        assert end.reason is ExitReason.FAILED, kept
        assert end.detail
        with pytest.raises(VmFailed) as caught:
            await vm.connect_agent()
        assert caught.value.reason == ExitReason.FAILED
        with pytest.raises(VmFailed):
            await vm.pause()
        await rig.driver.discard(vm.id)


async def test_a_state_of_another_machine_ends_the_clone_with_a_reason(rig: Rig, template: QemuTemplate) -> None:
    noise = memfd.create("noise")
    os.pwrite(noise, os.urandom(100_000), 0)
    vm = await cloned(rig, QemuTemplate(template.key, os.dup(template._memory), noise))
    assert (await vm.wait()).reason is ExitReason.FAILED


async def test_a_clone_that_is_told_nonsense_is_ended(
    rig: Rig, template: QemuTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "_CAPABILITIES", {"capabilities": [{"capability": "x-none", "state": True}]})
    vm = await cloned(rig, template)
    end = await vm.wait()
    assert end.reason is ExitReason.FAILED
    assert "could not be restored" in end.detail


async def test_a_hypervisor_that_refuses_to_be_a_clone_says_why(rig: Rig, template: QemuTemplate) -> None:
    first = rig.specification()
    await rig.driver.launch(first)
    thief = await cloned(rig, template, disks=first.disks)
    end = await thief.wait()
    assert end.reason is ExitReason.FAILED
    assert "lock" in end.detail


async def test_a_template_of_a_kernel_that_was_replaced_is_refused(rig: Rig, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(rig.kernel.initrd.read_bytes())
    initrd.chmod(0o644)
    spec = rig.specification(kernel=replace(rig.kernel, initrd=initrd))
    before = rig.driver.template_key(spec)
    os.utime(initrd, ns=(1, 1))
    assert rig.driver.template_key(spec) != before
    template = QemuTemplate(before, memfd.create("memory"), memfd.create("state"))
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(replace(spec, template=template))
    template.close()


async def test_a_clone_is_in_no_network_before_it_has_an_address(rig: Rig, template: QemuTemplate) -> None:
    vm = await cloned(rig, template)
    await vm.running()
    assert (await ask(vm, "query-migrate-parameters"))["announce-rounds"] == 0


async def test_several_processors_are_cloned_too(rig: Rig) -> None:
    template = await rig.template(vcpus=2)
    agents = [await greet(await cloned(rig, template, vcpus=2)) for _ in range(2)]
    for agent in agents:
        assert await agent.request("ping") == {}
        await agent.close()
    template.close()


async def test_a_claim_puts_exactly_its_disks_into_the_slots(rig: Rig, template: QemuTemplate, tmp_path: Path) -> None:
    vm = await cloned(rig, template, disks={Slot.ROOT: Disk(image(tmp_path / "sample"), read_only=True)})
    agent = await greet(vm)
    wanted = rig.specification()
    await rig.driver.claim(vm.id, wanted)
    assert await inserted(vm) == {Slot.WRITABLE: str(wanted.disks[Slot.WRITABLE].path)}
    assert vm.slots is not None
    await asyncio.gather(*vm._tasks[-1:])
    assert str(tmp_path / "sample") not in open_files(vm.pid)
    blocks = {block["inserted"]["node-name"]: block["inserted"] for block in await ask(vm, "query-block")}
    assert {block["image"]["virtual-size"] for block in blocks.values()} == {SLOT_BYTES}
    assert sorted(block["ro"] for block in blocks.values()) == [False, True, True]
    assert await agent.request("ping") == {}
    await agent.close()


async def test_a_disk_that_is_claimed_is_locked(rig: Rig, template: QemuTemplate) -> None:
    first, second = [await cloned(rig, template, disks={}) for _ in range(2)]
    disks = rig.specification().disks
    await rig.driver.claim(first.id, rig.specification(disks=disks))
    with pytest.raises(VmFailed) as caught:
        await rig.driver.claim(second.id, rig.specification(disks=disks))
    assert "lock" in caught.value.message


async def test_a_claim_limits_the_processor(rig: Rig, template: QemuTemplate) -> None:
    vm = await cloned(rig, template, disks={})
    born = vm.id
    await rig.driver.claim(born, rig.specification(cpu_quota=0.5))
    groups = CgroupTree.of_host(rig.config.run).directories(born)
    limits = [
        (group / name).read_text().split()[0]
        for group in groups
        for name in ("cpu.cfs_quota_us", "cpu.max")
        if (group / name).exists()
    ]
    assert limits == ["50000"]


async def test_a_claimed_vm_keeps_its_console_and_log_under_its_new_name(rig: Rig, template: QemuTemplate) -> None:
    vm = await cloned(rig, template, disks={})
    spec = rig.specification()
    await rig.driver.claim(vm.id, spec)
    vm._console.append(b"later words\n")
    assert "later words" in (rig.config.vms / spec.id / "console.log").read_text()
    assert "later words" in await vm.console()


async def test_the_name_that_a_claimed_vm_was_born_by_is_not_given_again(rig: Rig, template: QemuTemplate) -> None:
    vm = await cloned(rig, template, disks={})
    born = vm.id
    await rig.driver.claim(born, rig.specification())
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(rig.specification(id=born))
    await rig.driver.discard(born)
    agent = await greet(vm)
    await agent.close()


async def test_files_behind_slots_are_long_and_take_no_room(rig: Rig) -> None:
    spec = rig.specification()
    await rig.driver.launch(spec)
    status = spec.disks[Slot.WRITABLE].path.stat()
    assert status.st_size == SLOT_BYTES
    assert status.st_blocks * 512 < 1024**2
