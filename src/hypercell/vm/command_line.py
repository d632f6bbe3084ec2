# SPDX-License-Identifier: Apache-2.0
"""The command line of a hypervisor: a pure function of what is wanted and of the descriptors that go with it.

The machine and its slots are those of docs/adr/0002-device-slots.md. Whatever is a file comes as a descriptor that
the daemon opened, so that the hypervisor's user needs the right to no path at all; every disk format is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypercell.vm.driver import Slot, VmSpec

AGENT_PORT = "hypercell.agent"
DISK_SLOTS = (Slot.ROOT, Slot.SPARE, Slot.WRITABLE)

_MACHINE = "microvm,rtc=on,isa-serial=off,x-option-roms=off,auto-kernel-cmdline=on,mem-merge=off,dump-guest-core=off"
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_TRANSLATION_MIB = 64
"""Room for translated code. QEMU's own choice may grow to 1 GiB for each VM."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Numbers of the descriptors that the hypervisor inherits."""

    agent: int
    """Listening UNIX sockets."""
    qmp: int
    console: int
    kernel: int
    initrd: int
    disks: dict[Slot, int] = field(default_factory=dict)

    def all(self) -> list[int]:
        return [self.agent, self.qmp, self.console, self.kernel, self.initrd, *self.disks.values()]


def build(qemu: str, accelerator: str, spec: VmSpec, inherited: Descriptors) -> list[str]:
    """The arguments for the program *qemu*. *accelerator* is `kvm` or `tcg`; the tap's number is in `spec.nic`."""
    return [
        qemu,
        *("-name", spec.id),
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-sandbox", _SANDBOX),
        *_machine(accelerator, spec),
        *_boot(spec, inherited),
        *("-global", "virtio-mmio.force-legacy=false"),
        *_channels(inherited),
        *_disks(spec, inherited),
        *_network(spec),
    ]


def _machine(accelerator: str, spec: VmSpec) -> list[str]:
    machine = f"{_MACHINE},acpi={'on' if spec.kernel.acpi else 'off'}"
    if accelerator == "kvm":
        machine += ",pit=off,pic=off"
        cpu, accel = "host,vmx=off,svm=off", "kvm"
    else:
        threads = "multi" if spec.vcpus > 1 else "single"
        # String instructions that are fast on hardware go byte by byte under emulation; the guest shall avoid them.
        cpu, accel = "max,svm=off,erms=off,fsrm=off", f"tcg,thread={threads},tb-size={_TRANSLATION_MIB}"
    return ["-M", machine, "-accel", accel, "-cpu", cpu, "-smp", str(spec.vcpus), "-m", f"{spec.memory_mib}M"]


def _boot(spec: VmSpec, inherited: Descriptors) -> list[str]:
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
    """Every slot exists in every VM; one without content is an empty disk that cannot be written."""
    arguments: list[str] = []
    for number, slot in enumerate(DISK_SLOTS, start=1):
        disk = spec.disks.get(slot)
        if disk is None:
            arguments += ["-blockdev", f"driver=null-co,node-name={slot},size=0,read-only=on"]
        else:
            # Many VMs share one image; a disk that is written belongs to one, and the lock makes sure of it.
            mode = "read-only=on,auto-read-only=off" if disk.read_only else "read-only=off,discard=unmap"
            lock = "off" if disk.read_only else "on"
            file = f"file.driver=file,file.filename=/dev/fdset/{number},file.locking={lock}"
            arguments += ["-add-fd", f"fd={inherited.disks[slot]},set={number}"]
            arguments += ["-blockdev", f"driver=raw,node-name={slot},{mode},{file}"]
        device = f"virtio-blk-device,id=disk-{slot},drive={slot},serial={slot}"
        # A full host is an I/O error in the guest, not a guest that stands still without a word.
        arguments += ["-device", device + ",rerror=report,werror=report"]
    return arguments


def _network(spec: VmSpec) -> list[str]:
    """No device without a network: the guest then has a loopback interface and nothing else, as it should."""
    if spec.nic is None:
        return []
    return [
        *("-netdev", f"tap,id=net0,fd={spec.nic.tap}"),
        *("-device", f"virtio-net-device,id=nic,netdev=net0,mac={spec.nic.mac}"),
    ]
