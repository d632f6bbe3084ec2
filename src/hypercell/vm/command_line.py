# SPDX-License-Identifier: Apache-2.0
"""The command line of a hypervisor: a pure function of what is wanted and of the descriptors that go with it.

The machine and its slots are those of docs/adr/0002-device-slots.md. Whatever is a file comes as a descriptor that
the daemon opened, so that the hypervisor's user needs the right to no path at all; every disk format is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypercell.vm.driver import DEVICE_MAC, SHARE_TAG, SLOT_BYTES, Disk, Slot, VmSpec
from hypercell.vm.records import LONGEST_ID

AGENT_PORT = "hypercell.agent"
DISK_SLOTS = (Slot.ROOT, Slot.WRITABLE)
HUB = "hub"
"""The controller of disks that are plugged while a VM runs."""

_MACHINE = "microvm,rtc=on,isa-serial=off,x-option-roms=off,auto-kernel-cmdline=on,mem-merge=off,dump-guest-core=off"
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_SANDBOX_OF_FORKING = "on,obsolete=deny,resourcecontrol=deny"
"""It has to fork, and its forks to become other users; they deny themselves the rest."""
_TRANSLATION_MIB = 64
"""Room for translated code. QEMU's own choice may grow to 1 GiB for each VM."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Numbers of the descriptors that the hypervisor inherits."""

    agent: int
    """Listening UNIX sockets."""
    qmp: int
    console: int
    kernel: int | None = None
    """Kernel and initramfs: a clone has them in its memory."""
    initrd: int | None = None
    disks: dict[Slot, int] = field(default_factory=dict)
    tap: int | None = None
    memory: int | None = None
    """Of a template that is made, or of one that is cloned; None: nobody else's memory."""
    state: int | None = None
    """A template's; what has it is a clone."""
    share: int | None = None
    """Connected to the server of the host's files, which reads and writes the memory."""

    def all(self) -> list[int]:
        sockets, boot = (self.agent, self.qmp, self.console, self.share), (self.kernel, self.initrd)
        single = (*sockets, *boot, self.tap, self.memory, self.state)
        return [number for number in (*single, *self.disks.values()) if number is not None]


def build(qemu: str, accelerator: str, spec: VmSpec, inherited: Descriptors, forking: bool = False) -> list[str]:
    """The arguments for the program *qemu*. *accelerator* is `kvm` or `tcg`; *forking*: it is a template that others
    are forked of, each of which puts its own name over this one."""
    return [
        qemu,
        *("-name", spec.id.ljust(LONGEST_ID) if forking else spec.id),
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-sandbox", _SANDBOX_OF_FORKING if forking else _SANDBOX),
        *_machine(accelerator, spec, inherited),
        *_boot(spec, inherited),
        *("-global", "virtio-mmio.force-legacy=false"),
        *_channels(inherited),
        *_disks(spec, inherited),
        *("-device", f"virtio-scsi-device,id={HUB},num_queues=1"),
        *_network(inherited),
        *_share(inherited),
    ]


def empty(node: str, slot: Slot) -> dict[str, object]:
    """The node of a slot without content. It can be written where the slot's content can: a guest that found a disk
    read-only would never write to it, and a clone found its disks before they had any content."""
    read_only = slot is not Slot.WRITABLE
    return {"driver": "null-co", "node-name": node, "size": SLOT_BYTES, "read-zeroes": True, "read-only": read_only}


def content(node: str, disk: Disk, descriptors: int) -> dict[str, object]:
    """The node of a slot's content, whose file is in the set *descriptors*."""
    # Many VMs share one image; a disk that is written belongs to one, and the lock makes sure of it.
    return _raw(node, disk, descriptors, "off" if disk.read_only else "on")


def plugged(node: str, disk: Disk, descriptors: int) -> dict[str, object]:
    """The node of a disk in the hub. It is written by one VM at a time, or by none while others read it."""
    return _raw(node, disk, descriptors, "on")


def _raw(node: str, disk: Disk, descriptors: int, lock: str) -> dict[str, object]:
    file = {"driver": "file", "filename": f"/dev/fdset/{descriptors}", "locking": lock}
    mode = {"read-only": True, "auto-read-only": False} if disk.read_only else {"read-only": False, "discard": "unmap"}
    return {"driver": "raw", "node-name": node, **mode, "file": file}


def _machine(accelerator: str, spec: VmSpec, inherited: Descriptors) -> list[str]:
    machine = f"{_MACHINE},acpi={'on' if spec.kernel.acpi else 'off'}"
    if accelerator == "kvm":
        machine += ",pit=off,pic=off"
        cpu, accel = "host,vmx=off,svm=off", "kvm"
    else:
        threads = "multi" if spec.vcpus > 1 else "single"
        # String instructions that are fast on hardware go byte by byte under emulation; the guest shall avoid them.
        cpu, accel = "max,svm=off,erms=off,fsrm=off", f"tcg,thread={threads},tb-size={_TRANSLATION_MIB}"
    size = f"{spec.memory_mib}M"
    backend: list[str] = []
    if inherited.memory is not None:
        machine += ",memory-backend=mem"
        share = "on" if inherited.state is None else "off"
        path = f"/proc/self/fd/{inherited.memory}"
        backend = [
            "-object",
            f"memory-backend-file,id=mem,size={size},mem-path={path},share={share},merge=off,dump=off",
        ]
    return [*backend, "-M", machine, "-accel", accel, "-cpu", cpu, "-smp", str(spec.vcpus), "-m", size]


def _boot(spec: VmSpec, inherited: Descriptors) -> list[str]:
    if inherited.state is not None:
        # The state is not named here: what has to be set before it is read can only be set by the control socket.
        return ["-incoming", "defer"]
    return [
        *("-kernel", f"/proc/self/fd/{inherited.kernel}"),
        *("-initrd", f"/proc/self/fd/{inherited.initrd}"),
        *("-append", spec.kernel.command_line),
    ]


def _channels(inherited: Descriptors) -> list[str]:
    def listening(name: str, number: int) -> tuple[str, str]:
        return "-chardev", f"socket,id={name},fd={number},server=on,wait=off"

    return [
        *listening("qmp0", inherited.qmp),
        *("-mon", "chardev=qmp0,mode=control"),
        *listening("con0", inherited.console),
        *listening("ag0", inherited.agent),
        *("-device", "virtio-serial-device,id=serial,max_ports=2"),
        *("-device", "virtconsole,id=console,chardev=con0"),
        *("-device", f"virtserialport,id=agent,chardev=ag0,name={AGENT_PORT}"),
    ]


def _disks(spec: VmSpec, inherited: Descriptors) -> list[str]:
    """Every slot exists in every VM."""
    arguments: list[str] = []
    for number, slot in enumerate(DISK_SLOTS, start=1):
        disk = spec.disks.get(slot)
        if disk is None:
            node = empty(slot, slot)
        else:
            node = content(slot, disk, number)
            arguments += ["-add-fd", f"fd={inherited.disks[slot]},set={number}"]
        arguments += ["-blockdev", ",".join(_flat(node))]
        device = f"virtio-blk-device,id=disk-{slot},drive={slot},serial={slot}"
        # A full host is an I/O error in the guest, not a guest that stands still without a word.
        arguments += ["-device", device + ",rerror=report,werror=report"]
    return arguments


def _flat(node: dict[str, object], prefix: str = "") -> Iterator[str]:
    """What the control socket takes as JSON, as words of the command line."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield f"{prefix}{name}={'on' if value else 'off'}"
        else:
            yield f"{prefix}{name}={value}"


def _network(inherited: Descriptors) -> list[str]:
    """A container's VM has a card, with `--network none` too; only VMs of tests have no tap, and then none."""
    if inherited.tap is None:
        return []
    return [
        *("-netdev", f"tap,id=net0,fd={inherited.tap}"),
        *("-device", f"virtio-net-device,id=nic,netdev=net0,mac={DEVICE_MAC}"),
    ]


def _share(inherited: Descriptors) -> list[str]:
    if inherited.share is None:
        return []
    return [
        *("-chardev", f"socket,id=share0,fd={inherited.share}"),
        *("-device", f"vhost-user-fs-device,id=share,chardev=share0,tag={SHARE_TAG}"),
    ]
