# SPDX-License-Identifier: Apache-2.0
"""The hypervisor's command line, word by word."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from hypercell.vm.command_line import Descriptors, build
from hypercell.vm.driver import DEVICE_MAC, SLOT_BYTES, Disk, GuestKernel, Nic, Slot, VmSpec

KERNEL = GuestKernel("own", Path("/k/vmlinux"), Path("/k/initrd"), "quiet console=hvc0", False, 40, "6.1.0-x")
SPEC = VmSpec(
    "abc",
    2,
    256,
    KERNEL,
    {Slot.ROOT: Disk(Path("/i/a,b=c"), True), Slot.WRITABLE: Disk(Path("/c/rw"), False)},
    Nic(19, DEVICE_MAC),
)
INHERITED = Descriptors(10, 11, 12, 13, 14, {Slot.ROOT: 15, Slot.WRITABLE: 16}, tap=19)

GOLDEN = """
qemu -name abc -nodefaults -no-user-config -no-reboot -display none
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-M microvm,rtc=on,isa-serial=off,x-option-roms=off,auto-kernel-cmdline=on,mem-merge=off,dump-guest-core=off,acpi=off
-accel tcg,thread=multi,tb-size=64 -cpu max,svm=off,erms=off,fsrm=off -smp 2 -m 256M
-kernel /proc/self/fd/13 -initrd /proc/self/fd/14 -append quiet|console=hvc0
-global virtio-mmio.force-legacy=false
-chardev socket,id=qmp0,fd=11,server=on,wait=off -mon chardev=qmp0,mode=control
-chardev socket,id=con0,fd=12,server=on,wait=off
-chardev socket,id=ag0,fd=10,server=on,wait=off
-device virtio-serial-device,id=serial,max_ports=2
-device virtconsole,id=console,chardev=con0
-device virtserialport,id=agent,chardev=ag0,name=hypercell.agent
-add-fd fd=15,set=1
-blockdev driver=raw,node-name=root,read-only=on,auto-read-only=off,file.driver=file,file.filename=/dev/fdset/1,file.locking=off
-device virtio-blk-device,id=disk-root,drive=root,serial=root,rerror=report,werror=report
-add-fd fd=16,set=2
-blockdev driver=raw,node-name=rw,read-only=off,discard=unmap,file.driver=file,file.filename=/dev/fdset/2,file.locking=on
-device virtio-blk-device,id=disk-rw,drive=rw,serial=rw,rerror=report,werror=report
-device virtio-scsi-device,id=hub,num_queues=1
-netdev tap,id=net0,fd=19 -device virtio-net-device,id=nic,netdev=net0,mac=02:42:00:00:00:01
"""  # noqa: E501


def golden(text: str) -> list[str]:
    return [word.replace("|", " ") for word in text.split()]


def test_the_command_line_is_what_was_agreed() -> None:
    assert build("qemu", "tcg", SPEC, INHERITED) == golden(GOLDEN)


def test_one_that_others_are_forked_of_may_fork_and_has_room_for_their_names() -> None:
    words, others = build("qemu", "tcg", SPEC, INHERITED, forking=True), build("qemu", "tcg", SPEC, INHERITED)
    assert value(words, "-name") == "abc" + " " * 125
    assert value(words, "-sandbox") == "on,obsolete=deny,resourcecontrol=deny"
    different = {number for number, pair in enumerate(zip(words, others, strict=True)) if pair[0] != pair[1]}
    assert different == {others.index("-name") + 1, others.index("-sandbox") + 1}


@pytest.mark.parametrize("forking", [False, True])
def test_no_random_number_of_a_device_comes_from_a_seed(forking: bool) -> None:
    """A hypervisor without one keeps no state of its own to draw from, that its forks would share: it asks the host."""
    words = build("qemu", "tcg", SPEC, INHERITED, forking)
    assert not [word for word in words if "seed" in word or "rng" in word]


def test_no_path_of_an_image_reaches_the_command_line() -> None:
    assert not [word for word in build("qemu", "tcg", SPEC, INHERITED) if "/i/" in word or "/c/" in word]


def test_without_a_network_there_is_no_network_device() -> None:
    words = build("qemu", "tcg", replace(SPEC, nic=None), replace(INHERITED, tap=None))
    assert words == golden(GOLDEN[: GOLDEN.index("-netdev")])


def test_a_kernel_that_wants_acpi_gets_it() -> None:
    words = build("qemu", "tcg", replace(SPEC, kernel=replace(KERNEL, acpi=True)), INHERITED)
    assert words[words.index("-M") + 1].endswith(",acpi=on")


def test_hardware_is_used_without_what_only_emulation_needs() -> None:
    words = build("qemu", "kvm", SPEC, INHERITED)
    assert words[words.index("-accel") + 1] == "kvm"
    assert words[words.index("-cpu") + 1] == "host,vmx=off,svm=off"
    assert words[words.index("-M") + 1].endswith("pit=off,pic=off")


def test_every_vm_has_every_disk_slot() -> None:
    words = build("qemu", "tcg", replace(SPEC, disks={}), replace(INHERITED, disks={}))
    assert [word.split("serial=")[1].split(",")[0] for word in words if "virtio-blk" in word] == ["root", "rw"]
    empty = [word for word in words if "driver=null-co" in word]
    assert [f"size={SLOT_BYTES}" in word for word in empty] == [True] * 2
    assert ["read-only=on" in word for word in empty] == [True, False]
    assert "-add-fd" not in words


TEMPLATE = replace(INHERITED, disks={}, memory=20)
CLONE = replace(INHERITED, kernel=None, initrd=None, memory=20, state=21)
BACKEND = "memory-backend-file,id=mem,size=256M,mem-path=/proc/self/fd/20,share={},merge=off,dump=off"


def value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_a_template_shares_its_memory_and_a_clone_copies_what_it_changes(accelerator: str) -> None:
    template = build("qemu", accelerator, replace(SPEC, disks={}), TEMPLATE)
    clone = build("qemu", accelerator, SPEC, CLONE)
    assert value(template, "-object") == BACKEND.format("on")
    assert value(clone, "-object") == BACKEND.format("off")
    assert "-incoming" not in template
    assert value(clone, "-incoming") == "defer"


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_a_clone_has_the_machine_of_its_template(accelerator: str) -> None:
    template = build("qemu", accelerator, replace(SPEC, disks={}), TEMPLATE)
    clone = build("qemu", accelerator, SPEC, CLONE)
    for option in ("-M", "-accel", "-cpu", "-smp", "-m", "-global", "-sandbox"):
        assert value(clone, option) == value(template, option)
    assert value(clone, "-M").endswith(",memory-backend=mem")
    devices = [[word for flag, word in pairwise(words) if flag == "-device"] for words in (template, clone)]
    assert devices[0] == devices[1]


def test_a_clone_needs_no_kernel() -> None:
    words = build("qemu", "tcg", SPEC, CLONE)
    assert not {"-kernel", "-initrd", "-append"} & set(words)
    assert sorted(CLONE.all()) == [10, 11, 12, 15, 16, 19, 20, 21]
