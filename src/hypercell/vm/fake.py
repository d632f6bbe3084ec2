# SPDX-License-Identifier: Apache-2.0
"""A driver whose VMs are fake guests in this process: for fault injection and for scale.

It keeps the promises of the real one (`tests/vm/test_conformance.py`). A `FakeMachine` stands for the computer and
holds the VMs; there is one for each run directory, and it outlives its drivers as a computer outlives a daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypercell.agent.fake import FakeGuest, Faults, memory_pipe
from hypercell.agent.fake.pipe import as_streams
from hypercell.base.config import Config
from hypercell.base.errors import Conflict, InvalidArgument, VmFailed
from hypercell.base.finish import finish
from hypercell.vm import hub, shapes, spawn
from hypercell.vm.driver import (
    DEVICE_MAC,
    Capabilities,
    Disk,
    ExitReason,
    GuestKernel,
    HostUsage,
    Template,
    Vm,
    VmExit,
    VmSpec,
)
from hypercell.vm.records import check_id

KERNEL = GuestKernel("fake", Path("/dev/null"), Path("/dev/null"), "", False, 0, "6.1.0-fake")
MAX_VCPUS = 16
TEMPLATE_BYTES = 32 * 1024**2
_pids = itertools.count(1_000_000_000)
"""Beyond what a kernel gives out: nobody is hurt by a signal to one."""


@dataclass(slots=True)
class FakeProcess:
    """What runs one VM: it lives in the machine, not in a driver."""

    spec: VmSpec
    guest: FakeGuest
    exit: asyncio.Future[VmExit]
    pid: int = field(default_factory=lambda: next(_pids))
    console: str = "fake guest\n"
    paused: bool = False
    expected: bool = False
    started: float = field(default_factory=time.monotonic)
    plugged: dict[str, Disk] = field(default_factory=dict)
    links: list[asyncio.Transport] = field(default_factory=list)
    """The guest's ends of connections; the last is the one in use."""
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    def holds(self, disk: Disk) -> bool:
        """Whether nobody else may have *disk* now."""
        mine = (other for other in self.plugged.values() if other.path == disk.path)
        return not self.exit.done() and any(not (other.read_only and disk.read_only) for other in mine)

    def end(self, reason: ExitReason, detail: str) -> None:
        if not self.exit.done():
            self.exit.set_result(VmExit(ExitReason.SHUTDOWN if self.expected else reason, detail))
            self.guest.die(reason)


@dataclass(slots=True)
class FakeTemplate:
    """Implements `driver.Template`."""

    key: str
    identity: dict[str, str]
    """What a clone would prove itself with that is no stranger to the template; empty for a zygote."""
    bytes: int = TEMPLATE_BYTES
    closed: bool = False

    def close(self) -> None:
        self.bytes = 0
        self.closed = True


@dataclass(slots=True)
class FakeMachine:
    """The computer: its VMs, and what is to go wrong on it."""

    processes: dict[str, FakeProcess] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    """Of guests launched from now on; each gets this very object, which may be changed or replaced at any time."""
    refuse: Exception | None = None
    """What launches raise."""
    launched: list[VmSpec] = field(default_factory=list)
    claimed: list[VmSpec] = field(default_factory=list)
    templates: list[FakeTemplate] = field(default_factory=list)
    """All that were ever made, in order."""
    refuse_templates: Exception | None = None
    """What `make_template` raises once its VM has settled."""
    refuse_clones: Exception | None = None
    """What launches of clones raise."""
    refuse_claims: Exception | None = None
    clone_faults: Faults | None = None
    """Of clones launched from now on, instead of `faults`."""
    twins: bool = False
    """Clones launched from now on take their template's identity for their own, whatever entropy they are given."""

    def panic(self, vm_id: str, words: str = "Kernel panic - not syncing: Fatal exception") -> None:
        """The kernel of a guest panics."""
        process = self.processes[vm_id]
        process.console += words + "\n"
        process.end(ExitReason.GUEST_PANIC, words)

    def reset(self, vm_id: str) -> None:
        """A guest resets its machine unasked."""
        self.processes[vm_id].end(ExitReason.GUEST_RESET, "the guest reset its machine")

    def kill(self, vm_id: str) -> None:
        """Somebody kills a hypervisor."""
        self.processes[vm_id].end(ExitReason.KILLED, "the hypervisor was ended by SIGKILL")


_machines: dict[Path, FakeMachine] = {}


def machine(run: Path) -> FakeMachine:
    """The machine of the daemons that use the run directory *run*."""
    return _machines.setdefault(run, FakeMachine())


class FakeVm:
    """Implements `driver.Vm`: one daemon's view of a `FakeProcess`."""

    accelerator = "none"
    device_mac = DEVICE_MAC

    def __init__(self, process: FakeProcess, machine: FakeMachine) -> None:
        self._process = process
        self._machine = machine
        self._detached = asyncio.get_running_loop().create_future()

    @property
    def id(self) -> str:
        return self._process.spec.id

    @property
    def pid(self) -> int:
        return self._process.pid

    async def connect_agent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.check_running()
        process = self._process
        host, guest = memory_pipe()
        streams = as_streams(host)
        process.links.append(guest)
        task = asyncio.create_task(process.guest.serve(*as_streams(guest)))
        process.serving.add(task)
        task.add_done_callback(process.serving.discard)
        await asyncio.sleep(0)  # the guest takes the connection
        if process.paused:
            guest.pause_reading()
        return streams

    async def wait(self) -> VmExit:
        await asyncio.wait([self._process.exit, self._detached], return_when=asyncio.FIRST_COMPLETED)
        if not self._process.exit.done():
            raise asyncio.CancelledError
        return self._process.exit.result()

    def expect_shutdown(self) -> None:
        self._process.expected = True

    async def kill(self) -> None:
        self._process.expected = True
        self._process.end(ExitReason.SHUTDOWN, "it was shut down")

    async def plug(self, name: str, disk: Disk) -> None:
        hub.check_name(name)
        self.check_running()
        if name in self._process.plugged:
            raise InvalidArgument(f"the VM has a disk called {name} already")
        os.close(spawn.open_disk(disk.path, disk.read_only))
        if any(process.holds(disk) for process in self._machine.processes.values()):
            raise Conflict(f"another VM has the disk {disk.path}")
        self._process.plugged[name] = disk

    async def unplug(self, name: str) -> None:
        self.check_running()
        if self._process.plugged.pop(name, None) is None:
            raise InvalidArgument(f"the VM has no disk that is called {name[:40]!r}")

    async def pause(self) -> None:
        self._set_paused(True)

    async def resume(self) -> None:
        self._set_paused(False)

    async def console(self) -> str:
        return self._process.console

    async def host_usage(self) -> HostUsage:
        running = not self._process.exit.done()
        cpu = int((time.monotonic() - self._process.started) * 10**7)
        return HostUsage(cpu, 48 * 1024**2 * running, 32 * 1024**2 * running, 32 * 1024**2 * running)

    def detach(self) -> None:
        # What is known of an expectation dies with the daemon that had it.
        self._process.expected = False
        if not self._detached.done():
            self._detached.set_result(None)

    def check_running(self) -> None:
        """Raise `VmFailed` when it is not."""
        if self._process.exit.done():
            raise self._failure()

    def _set_paused(self, paused: bool) -> None:
        self.check_running()
        process = self._process
        process.paused = paused
        if process.links and not process.links[-1].is_closing():
            link = process.links[-1]
            (link.pause_reading if paused else link.resume_reading)()

    def _failure(self) -> VmFailed:
        ended = self._process.exit.result()
        vague = ended.reason in (ExitReason.SHUTDOWN, ExitReason.UNKNOWN)
        return VmFailed(f"the VM has ended: {ended.detail}", ExitReason.FAILED if vague else ended.reason)


class FakeDriver:
    """Implements `driver.Driver` on the `machine` of `config.run`."""

    name = "fake"
    capabilities = Capabilities(
        "none", real=False, pause=True, adopt=True, templates=True, max_vcpus=MAX_VCPUS, zygotes=True, shares=True
    )

    def __init__(self, config: Config) -> None:
        self.machine = machine(config.run)
        self._vms: dict[str, FakeVm] = {}

    async def launch(self, spec: VmSpec) -> Vm:
        try:
            self._check(spec)
        finally:
            if spec.nic is not None:
                os.close(spec.nic.tap)
        if self.machine.refuse is not None:
            raise self.machine.refuse
        if spec.template is not None and self.machine.refuse_clones is not None:
            raise self.machine.refuse_clones
        self.machine.launched.append(spec)
        return self._start(spec)

    def _start(self, spec: VmSpec) -> FakeVm:
        exit_ = asyncio.get_running_loop().create_future()
        guest = FakeGuest(
            on_shutdown=lambda: process.end(ExitReason.GUEST_RESET, "the guest reset its machine"),
            on_death=lambda reason: self._died(process, reason),
            faults=self._faults(spec.template),
        )
        process = FakeProcess(spec, guest, exit_)
        self.machine.processes[spec.id] = process
        vm = self._vms[spec.id] = FakeVm(process, self.machine)
        return vm

    def _faults(self, template: Template | None) -> Faults:
        if template is None:
            return self.machine.faults
        faults = self.machine.clone_faults or self.machine.faults
        if not self.machine.twins:
            return faults
        assert isinstance(template, FakeTemplate)
        answer = {**faults.replies.get("configure", {}), **template.identity}
        return replace(faults, replies={**faults.replies, "configure": answer})

    def template_key(self, spec: VmSpec) -> str:
        shape = (str(spec.kernel), spec.memory_mib, spec.vcpus, spec.nic is not None)
        return hashlib.sha256(repr(shape).encode()).hexdigest()

    async def make_template(self, spec: VmSpec, settle: Callable[[Vm], Awaitable[None]]) -> Template:
        return await self._make(spec, settle, {"boot_id": str(uuid.uuid4()), "random": secrets.token_hex(16)})

    async def make_zygote(self, spec: VmSpec, settle: Callable[[Vm], Awaitable[None]]) -> Template:
        return await self._make(spec, settle, {})

    async def _make(self, spec: VmSpec, settle: Callable[[Vm], Awaitable[None]], identity: dict[str, str]) -> Template:
        key = self.template_key(spec)
        vm = await self.launch(shapes.bare(spec))
        self.machine.launched.pop()
        try:
            await settle(vm)
            if self.machine.refuse_templates is not None:
                raise self.machine.refuse_templates
        finally:
            await finish(self.discard(vm.id))
        template = FakeTemplate(key, identity)
        self.machine.templates.append(template)
        return template

    async def claim(self, vm_id: str, spec: VmSpec) -> Vm:
        shapes.check_claim(vm_id, spec)
        self._check_disks(spec)
        vm = self._vms.get(vm_id)
        if vm is None or self.machine.processes.get(vm_id) is None:
            raise InvalidArgument(f"there is no VM {vm_id}")
        if spec.id in self.machine.processes:
            raise InvalidArgument(f"there is a VM {spec.id} already")
        if self.machine.refuse_claims is not None:
            raise self.machine.refuse_claims
        vm.check_running()
        process = self.machine.processes[spec.id] = self.machine.processes.pop(vm_id)
        self._vms[spec.id] = self._vms.pop(vm_id)
        process.spec = replace(spec, nic=process.spec.nic, template=process.spec.template)
        self.machine.claimed.append(spec)
        return vm

    async def adopt(self, vm_id: str) -> Vm | None:
        process = self.machine.processes.get(vm_id)
        if process is None or process.exit.done():
            await self.discard(vm_id)
            return None
        if vm_id not in self._vms:
            self._vms[vm_id] = FakeVm(process, self.machine)
        return self._vms[vm_id]

    async def known(self) -> list[str]:
        return sorted(self.machine.processes)

    async def discard(self, vm_id: str) -> None:
        check_id(vm_id)
        self._vms.pop(vm_id, None)
        process = self.machine.processes.pop(vm_id, None)
        if process is not None:
            process.expected = True
            process.end(ExitReason.SHUTDOWN, "it was shut down")
            await asyncio.gather(*process.serving, return_exceptions=True)

    async def close(self) -> None:
        vms, self._vms = self._vms, {}
        for vm in vms.values():
            vm.detach()

    def _check(self, spec: VmSpec) -> None:
        check_id(spec.id)
        if spec.id in self.machine.processes:
            raise InvalidArgument(f"there is a VM {spec.id} already")
        if not 1 <= spec.vcpus <= MAX_VCPUS:
            raise InvalidArgument(f"a VM has 1 to {MAX_VCPUS} CPUs, not {spec.vcpus}")
        shapes.check_template(spec, self.template_key)
        for one in spec.shared:
            if not one.path.exists():
                raise InvalidArgument(f"cannot share {one.path}: No such file or directory")
        if isinstance(spec.template, FakeTemplate) and spec.template.closed:
            raise VmFailed("the template was closed", "hypervisor-failed")
        self._check_disks(spec)

    @staticmethod
    def _check_disks(spec: VmSpec) -> None:
        for disk in spec.disks.values():
            os.close(spawn.open_disk(disk.path, disk.read_only))

    @staticmethod
    def _died(process: FakeProcess, reason: str) -> None:
        if reason == ExitReason.GUEST_PANIC:
            process.console += "Kernel panic - not syncing: the program asked for it\n"
            process.end(ExitReason.GUEST_PANIC, "Kernel panic - not syncing: the program asked for it")
        else:
            process.end(ExitReason.KILLED, f"the hypervisor was ended ({reason})")
