# SPDX-License-Identifier: Apache-2.0
"""The walls around a hypervisor: user, groups, descriptors, system calls, devices."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypercell.base.config import Config
from hypercell.base.errors import VmFailed
from hypercell.vm import cgroups
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import DEVICE_MAC, Disk, ExitReason, Nic, Slot, VmSpec
from hypercell.vm.qemu import QemuDriver
from hypercell.vm.qemu_vm import QemuVm
from tests.support.vm import greet, guest_kernel, image, open_files, specification

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture
def spec(config: Config, tmp_path: Path) -> VmSpec:
    spec = specification(tmp_path, guest_kernel(config))
    return replace(spec, disks={**spec.disks, Slot.ROOT: Disk(image(tmp_path / "root.img"), read_only=True)})


async def started(driver: QemuDriver, spec: VmSpec) -> QemuVm:
    vm = await driver.launch(spec)
    assert isinstance(vm, QemuVm)
    return vm


def status(pid: int) -> dict[str, str]:
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def ask(vm: QemuVm, command: str, **arguments: object) -> Any:
    assert vm._qmp is not None
    return await vm._qmp.execute(command, **arguments)


async def test_each_hypervisor_is_a_user_of_its_own_without_groups_or_rights(
    qemu: QemuDriver, spec: VmSpec, tmp_path: Path
) -> None:
    one = await started(qemu, spec)
    other = await started(qemu, specification(tmp_path, spec.kernel))
    users = set()
    for vm in (one, other):
        seen = status(vm.pid)
        users.add(seen["Uid"])
        assert len(set(seen["Uid"].split())) == 1
        assert seen["Uid"] == seen["Gid"]
        assert seen["Groups"] == ""
        assert {int(seen[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert os.getsid(vm.pid) == vm.pid
    assert len(users) == 2


async def test_seccomp_is_on_and_rights_cannot_be_gained(qemu: QemuDriver, spec: VmSpec) -> None:
    vm = await started(qemu, spec)
    for task in (Path("/proc") / str(vm.pid) / "task").iterdir():
        text = (task / "status").read_text()
        assert "Seccomp:\t2" in text
        assert "NoNewPrivs:\t1" in text


async def test_a_hypervisor_leaves_no_core_and_no_environment(
    qemu: QemuDriver, spec: VmSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    vm = await started(qemu, spec)
    assert re.search(r"Max core file size +0 ", (Path("/proc") / str(vm.pid) / "limits").read_text())
    assert b"secret" not in (Path("/proc") / str(vm.pid) / "environ").read_bytes()


def kind(link: str) -> str:
    return re.sub(r"\[\d+\]", "", link)


async def test_a_hypervisor_holds_exactly_the_descriptors_it_needs(
    qemu: QemuDriver, spec: VmSpec, config: Config
) -> None:
    strays = [os.open("/etc/passwd", os.O_RDONLY), *os.pipe()]
    for stray in strays:
        os.set_inheritable(stray, True)
    try:
        vm = await started(qemu, spec)
    finally:
        for stray in strays:
            os.close(stray)
    found = sorted(kind(name) for name in open_files(vm.pid))
    root, writable = (str(spec.disks[slot].path) for slot in (Slot.ROOT, Slot.WRITABLE))
    pipe = str(config.vms / spec.id / "log.pipe")
    own = [name for name in found if name in ("anon_inode:[eventfd]", "anon_inode:[eventpoll]")]
    expected = [
        *("/dev/null", pipe, pipe),
        *("socket:", "socket:", "socket:"),  # the listening ones
        *("socket:", "socket:"),  # our connections to console and control socket
        str(spec.kernel.image(spec.vcpus).resolve()),
        str(spec.kernel.initrd.resolve()),
        *(root, root, writable, writable),  # as given, and as its block layer has them
        *(*own, "anon_inode:[signalfd]"),
    ]
    assert found == sorted(expected)


async def test_a_read_only_disk_is_open_for_reading_only(qemu: QemuDriver, spec: VmSpec) -> None:
    vm = await started(qemu, spec)
    modes: dict[str, set[int]] = {}
    for file in (Path("/proc") / str(vm.pid) / "fd").iterdir():
        flags = (Path("/proc") / str(vm.pid) / "fdinfo" / file.name).read_text()
        modes.setdefault(str(file.readlink()), set()).add(
            int(re.findall(r"flags:\s*(\d+)", flags)[0], 8) & os.O_ACCMODE
        )
    assert modes[str(spec.disks[Slot.ROOT].path)] == {os.O_RDONLY}
    assert modes[str(spec.disks[Slot.WRITABLE].path)] == {os.O_RDWR}


async def test_the_devices_are_the_slots_and_nothing_else(qemu: QemuDriver, spec: VmSpec) -> None:
    vm = await started(qemu, spec)
    peripherals = await ask(vm, "qom-list", path="/machine/peripheral")
    found = {entry["name"]: entry["type"] for entry in peripherals if entry["name"] != "type"}
    assert found == {
        "serial": "child<virtio-serial-device>",
        "console": "child<virtconsole>",
        "agent": "child<virtserialport>",
        "disk-root": "child<virtio-blk-device>",
        "disk-rw": "child<virtio-blk-device>",
        "hub": "child<virtio-scsi-device>",
    }
    anonymous = await ask(vm, "qom-list", path="/machine/peripheral-anon")
    assert [entry["name"] for entry in anonymous] == ["type"]
    unattached = await ask(vm, "qom-list", path="/machine/unattached")
    found_types = Counter(
        re.sub(r"child<(.*)>", r"\1", entry["type"]) for entry in unattached if entry["name"] != "type"
    )
    for plumbing in ("System", "irq", "memory-region"):
        del found_types[plumbing]
    assert found_types == machine_devices(vm.accelerator, spec.kernel.acpi)


def machine_devices(accelerator: str, acpi: bool) -> Counter[str]:
    """What the machine type itself brings: processor, interrupt controllers, timer, clock, empty virtio slots."""
    kvm = accelerator == "kvm"
    expected = Counter({"isabus-bridge": 1, "kvmvapic": 1, "mc146818rtc": 1, "virtio-mmio": 24 if acpi else 8})
    expected["host-x86_64-cpu" if kvm else "max-x86_64-cpu"] = 1
    if not kvm:
        expected += Counter({"isa-i8259": 2, "isa-pit": 1})
    if acpi:
        expected += Counter({"acpi-ged-x86": 1, "ioapic": 1})
    return expected


async def test_every_disk_has_a_named_format_and_its_slots_serial(qemu: QemuDriver, spec: VmSpec) -> None:
    vm = await started(qemu, spec)
    blocks = {entry["inserted"]["node-name"]: entry["inserted"] for entry in await ask(vm, "query-block")}
    assert {name: block["drv"] for name, block in blocks.items()} == {"root": "raw", "rw": "raw"}
    assert {name: block["ro"] for name, block in blocks.items()} == {"root": True, "rw": False}
    for slot in Slot:
        assert await ask(vm, "qom-get", path=f"/machine/peripheral/disk-{slot}", property="serial") == slot.value


async def test_a_disk_that_looks_like_another_format_stays_raw(
    qemu: QemuDriver, config: Config, tmp_path: Path
) -> None:
    evil = image(tmp_path / "evil.rw")
    with evil.open("r+b") as file:  # a qcow2 header whose backing file is the host's
        name = b"/etc/shadow"
        file.write(b"QFI\xfb" + bytes([0, 0, 0, 2]) + (512).to_bytes(8, "big") + len(name).to_bytes(4, "big"))
        file.seek(512)
        file.write(name)
    disks = {Slot.WRITABLE: Disk(evil, read_only=False)}
    vm = await started(qemu, specification(tmp_path, guest_kernel(config), disks=disks))
    writable = next(b for b in await ask(vm, "query-block") if b["inserted"]["node-name"] == "rw")["inserted"]
    assert writable["drv"] == "raw"
    assert "backing_file" not in writable
    assert writable["image"]["virtual-size"] == evil.stat().st_size


async def test_a_writable_disk_belongs_to_one_vm_at_a_time(qemu: QemuDriver, spec: VmSpec, tmp_path: Path) -> None:
    await started(qemu, spec)
    thief = specification(tmp_path, spec.kernel, disks=spec.disks)
    with pytest.raises(VmFailed) as caught:
        await qemu.launch(thief)
    assert caught.value.reason == ExitReason.FAILED
    assert "lock" in caught.value.message
    assert await qemu.known() == [spec.id]


async def test_one_image_serves_many_vms(qemu: QemuDriver, spec: VmSpec, tmp_path: Path) -> None:
    other = specification(tmp_path, spec.kernel)
    for each in (spec, replace(other, disks={**other.disks, Slot.ROOT: spec.disks[Slot.ROOT]})):
        agent = await greet(await started(qemu, each))
        await agent.close()


async def test_a_hypervisor_is_in_the_groups_of_its_vm(qemu: QemuDriver, spec: VmSpec, config: Config) -> None:
    vm = await started(qemu, replace(spec, cpu_quota=0.5))
    groups = CgroupTree.of_host(config.run).directories(vm.id)
    assert groups
    for group in groups:
        assert (group / "cgroup.procs").read_text().split() == [str(vm.pid)]
        if (group / "cpu.cfs_quota_us").exists():
            assert (group / "cpu.cfs_quota_us").read_text().strip() == "50000"
        if (group / "cpu.max").exists():
            assert (group / "cpu.max").read_text().split() == ["50000", "100000"]
        for name in ("memory.limit_in_bytes", "memory.max"):
            if (group / name).exists():
                assert spec.memory_mib + 200 < int((group / name).read_text()) >> 20 < spec.memory_mib + 400
        if (group / "pids.max").exists():
            assert int((group / "pids.current").read_text()) < 64 < int((group / "pids.max").read_text()) <= 100
    assert cgroups.usage([]).cpu_ns is None
    await qemu.discard(vm.id)
    assert not any(group.exists() or group.parent.exists() for group in groups)


async def test_the_vms_directory_is_closed_to_hypervisors(qemu: QemuDriver, spec: VmSpec, config: Config) -> None:
    await started(qemu, spec)
    for path in (config.vms, config.vms / spec.id):
        assert path.stat().st_mode & 0o777 == 0o700
        assert path.stat().st_uid == os.geteuid()
    record = json.loads((config.vms / spec.id / "vm.json").read_text())
    assert config.uid_base <= record["uid"] < config.uid_base + config.uid_count


async def test_the_network_slot_is_filled_by_the_tap_that_was_given(qemu: QemuDriver, spec: VmSpec) -> None:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
    fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"hctest%d", flags))
    vm = await started(qemu, replace(spec, nic=Nic(tap, DEVICE_MAC)))
    assert "/dev/net/tun" not in open_files(os.getpid())
    peripherals = {entry["name"]: entry["type"] for entry in await ask(vm, "qom-list", path="/machine/peripheral")}
    assert peripherals["nic"] == "child<virtio-net-device>"
    assert await ask(vm, "qom-get", path="/machine/peripheral/nic", property="mac") == DEVICE_MAC
    agent = await greet(vm)
    await agent.close()
