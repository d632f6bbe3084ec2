# SPDX-License-Identifier: Apache-2.0
"""The interface that every hypervisor driver implements; `tests/vm/test_conformance.py` is its contract.

A VM is a process on this machine that outlives the daemon. A driver launches it, hands out its agent channel,
tells how it ended, and finds it again after the daemon was restarted. It knows nothing of containers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

DEVICE_MAC = "02:42:00:00:00:01"
"""What a card is born with; `configure` gives it its container's address (docs/adr/0010-templates-and-pool.md)."""
SLOT_BYTES = 1 << 40
"""How large every disk looks to a guest."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do here; what is False raises `Unsupported` when asked for."""

    accelerator: str
    """`kvm`, `tcg` or `none` (fake)."""
    real: bool
    """False for a driver that runs no guest kernel."""
    pause: bool
    adopt: bool
    templates: bool
    max_vcpus: int
    warm_clones: bool = False
    """Whatever a template has carried out needs no translation in its clones either."""
    shares: bool = False
    """Guests can see files of the host."""
    zygotes: bool = False
    """Nor does a boot, where the hypervisor is forked of one that has gone through such a boot."""


SHARE_TAG = "hypercell.share"


class Slot(StrEnum):
    """The fixed device slots of a VM; the value is the serial by which the guest finds a disk."""

    ROOT = "root"
    """Read-only: the merged image of the container."""
    WRITABLE = "rw"
    """The writable layer."""


ROOT_OF_DISKS = {
    "lower": [{"disk": Slot.ROOT.value, "fstype": "erofs"}],
    "upper": {"disk": Slot.WRITABLE.value, "fstype": "ext4"},
}
"""A container's root, of the disks in these slots: `root` of the agent protocol's `container.create`."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Content of one slot, or what is plugged in: a raw file. The format is never probed."""

    path: Path
    read_only: bool


@dataclass(frozen=True, slots=True)
class Shared:
    """A file or directory of the host's that a VM sees. The host trusts whoever asks for
    it with the content, and the VM with nothing else."""

    path: Path
    read_only: bool
    """Enforced by the host's kernel."""
    recursive: bool = True
    """With what is mounted below it."""


@dataclass(frozen=True, slots=True)
class Nic:
    """The one network slot. `tap` is an open descriptor of a tap (IFF_VNET_HDR, IFF_NO_PI): it is consumed by
    `launch` and `make_template`, which close the daemon's copy whatever happens."""

    tap: int
    mac: str
    """`DEVICE_MAC`, in every VM, however it comes about: the guest gives the card its container's address."""


@dataclass(frozen=True, slots=True)
class GuestKernel:
    """What boots: an ELF `vmlinux` with a PVH entry, an initramfs, and what the kernel needs of the machine."""

    name: str
    """`own`, `distribution`, or the directory's name."""
    vmlinux: Path
    initrd: Path
    command_line: str
    acpi: bool
    """The distribution's kernel finds virtio-mmio devices only by ACPI."""
    overhead_mib: int
    """Memory that the guest's kernel and agent need on top of what containers may use."""
    release: str
    """What `uname -r` will say."""
    uniprocessor: Path | None = None
    """The same kernel built for one CPU: it has less to do, and no cpuset controller."""

    def image(self, vcpus: int) -> Path:
        """What a VM with so many CPUs boots."""
        return self.uniprocessor if vcpus == 1 and self.uniprocessor else self.vmlinux


class Template(Protocol):
    """What VMs are cloned from: a VM that was saved, or a process that is forked. Made by `Driver.make_template` or
    `Driver.make_zygote`; it ends with the daemon."""

    @property
    def key(self) -> str: ...
    @property
    def bytes(self) -> int:
        """Host memory that it holds."""

    def close(self) -> None:
        """Let go of it. Clones that were made of it go on."""


@dataclass(frozen=True, slots=True)
class VmSpec:
    id: str
    vcpus: int
    memory_mib: int
    """RAM of the VM, the kernel's overhead included."""
    kernel: GuestKernel
    disks: dict[Slot, Disk] = field(default_factory=dict)
    nic: Nic | None = None
    cpu_quota: float = 0.0
    """Host CPU time it may use, in cores (0: unlimited). Enforced by the host's cgroup where there is one."""
    template: Template | None = None
    """Launch clones it; its key must be that of this specification."""
    shared: tuple[Shared, ...] = ()
    """What the guest finds in the virtio-fs file system `SHARE_TAG`, called `0`, `1` and so on. Such a VM boots: it is
    nobody's clone."""


class ExitReason(StrEnum):
    SHUTDOWN = "shutdown"
    """We asked (kill, or the agent's shutdown)."""
    GUEST_PANIC = "guest-panic"
    GUEST_RESET = "guest-reset"
    """The guest ended by itself without a panic being seen."""
    KILLED = "hypervisor-killed"
    """The hypervisor ended by a signal that was not ours."""
    FAILED = "hypervisor-failed"
    """The hypervisor ended by itself: bad command line, out of memory …"""
    UNKNOWN = "unknown"
    """Ended while nobody was watching."""


@dataclass(frozen=True, slots=True)
class VmExit:
    reason: ExitReason
    detail: str
    """For a person: last words of the hypervisor's log or of the guest's console, printable, ≤ 2000 characters."""


class Vm(Protocol):
    """One VM. Methods may be called from several tasks."""

    @property
    def id(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def accelerator(self) -> str: ...
    @property
    def device_mac(self) -> str:
        """What its card was born with."""

    async def connect_agent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the agent channel. One connection at a time. Raises `VmFailed` when the VM is gone."""

    async def wait(self) -> VmExit:
        """Return how it ended, when it has. Any number of waiters."""

    def expect_shutdown(self) -> None:
        """From now on an end of the VM is `SHUTDOWN`: the agent was asked to reset the machine."""

    async def kill(self) -> None:
        """End it at once; returns when the process is gone. No error when it is gone already."""

    async def plug(self, name: str, disk: Disk) -> None:
        """Give the guest a further disk, which it finds by the serial *name*: 1 to 20 of `a-z`, `0-9`, `-`. One that is
        written is in no other VM; one that is only read may be in many.

        Raises `InvalidArgument` for a name that cannot be or is taken and for a disk that is none, `Conflict` for a
        disk that another VM has, `VmFailed`, `Unavailable`; nothing is plugged then.
        """

    async def unplug(self, name: str) -> None:
        """Take it away again; the guest must have let go of it. Raises `InvalidArgument` when there is none by this
        *name*, `VmFailed`."""

    async def pause(self) -> None: ...
    async def resume(self) -> None: ...

    async def console(self) -> str:
        """The guest's console, its last 64 KiB, control characters replaced."""

    async def host_usage(self) -> HostUsage: ...


@dataclass(frozen=True, slots=True)
class HostUsage:
    """What the VM costs the host, from the host's own counters (metering never believes the guest)."""

    cpu_ns: int
    rss_bytes: int
    pss_bytes: int
    """Pages that several processes share are divided among them."""
    own_bytes: int
    """Pages that no other process shares: what its end gives back."""


class Driver(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...

    async def launch(self, spec: VmSpec) -> Vm:
        """Start a VM. Returns as soon as the hypervisor runs (the guest may still be booting).

        Raises `VmFailed('hypervisor-failed')`, `NoSpace`, `InvalidArgument`. On any error nothing is left: no
        process, socket, directory, cgroup or descriptor. A clone may still be read from its template, and its agent
        may be connected to meanwhile; when that fails it ends, and `Vm.wait` says `FAILED` and why.
        """

    def template_key(self, spec: VmSpec) -> str:
        """A hash of all that shapes a template of *spec*: what `disks`, `cpu_quota` and `id` are makes no difference,
        whether there is a `nic` does. Only for a driver that can make some."""

    async def make_template(self, spec: VmSpec, settle: Callable[[Vm], Awaitable[None]]) -> Template:
        """Boot a VM of *spec*, let *settle* do with it what every clone shall have behind it, and leave it alone again:
        nobody is connected to its agent, nothing uses its disks, which are not those of its clones.

        Raises as `launch`, and what *settle* raises; nothing is left then. What is left otherwise ends with the
        template (see `close`).
        """

    async def make_zygote(self, spec: VmSpec, settle: Callable[[Vm], Awaitable[None]]) -> Template:
        """As `make_template`, but nothing is left of the guest: what is launched of it boots by itself, and nobody had
        its memory before. Only the hypervisor's translations of what *settle* went through are common to all."""

    async def claim(self, vm_id: str, spec: VmSpec) -> Vm:
        """The running VM *vm_id*, of this daemon, is from now on `spec.id`, with its CPU quota and exactly its disks in
        their slots. `Vm` objects and connections to its agent stay good; nothing may use a disk of it meanwhile.

        Raises `InvalidArgument` for a VM that is not there, a name that is taken or a disk that is none: all is
        as before then. Raises `VmFailed`, `NoSpace`; it may then go by either name, and is good for `discard` only.
        """

    async def adopt(self, vm_id: str) -> Vm | None:
        """The running VM of an earlier daemon, or None (and then nothing of it is left)."""

    async def known(self) -> list[str]:
        """Ids of all VMs of which anything exists on this machine under this daemon's directories, but for what belongs
        to a template of this daemon."""

    async def discard(self, vm_id: str) -> None:
        """Kill it if it runs, and remove all that belongs to it. Idempotent, for unknown ids too."""

    async def close(self) -> None:
        """Let go of everything without touching running VMs (the daemon ends). Templates were closed before; returns
        when nothing is left of them."""
