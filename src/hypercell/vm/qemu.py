# SPDX-License-Identifier: Apache-2.0
"""The QEMU driver: launches, finds again and removes VMs (docs/adr/0002-device-slots.md)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from socket import socket

from hypercell.base.config import Config
from hypercell.base.errors import InvalidArgument, NoSpace, Unavailable, Unsupported, VmFailed
from hypercell.base.finish import finish
from hypercell.vm import accel, cgroups, command_line, exits, memfd, records, shapes, sharing, spawn
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import Capabilities, ExitReason, Slot, Template, Vm, VmSpec
from hypercell.vm.forking import ControlPair, LivingTemplate, can_fork
from hypercell.vm.limits import Limits
from hypercell.vm.processes import Process, adopt_orphans, end_child, find_hypervisor, start_time
from hypercell.vm.program import choose
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.qmp import SHORT
from hypercell.vm.records import Record, VmDirectory
from hypercell.vm.saved_template import SavedTemplate, key_of
from hypercell.vm.slots import Slots
from hypercell.vm.uids import UidPool


class QemuDriver:
    """Implements `driver.Driver`. One per daemon; its methods are called from one event loop."""

    name = "qemu"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._accelerator = accel.choose(config.accelerator)
        self._uids = UidPool(config.uid_base, config.uid_count, config.run)
        self._cgroups = CgroupTree.of_host(config.run)
        self._vms: dict[str, QemuVm] = {}
        self._templates: set[str] = set()
        """Ids of the VMs that others are forked of."""
        self._ending: set[asyncio.Task[None]] = set()
        self._companions: set[asyncio.Task[None]] = set()
        """Waits for processes that end with their VM."""
        for vm_id in VmDirectory.ids(config.vms):
            self._hold_uid(vm_id)

    @property
    def accelerator(self) -> accel.Accelerator:
        return self._accelerator

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            accelerator=self._accelerator.name,
            real=True,
            pause=True,
            adopt=True,
            templates=True,
            max_vcpus=shapes.MAX_VCPUS,
            warm_clones=self._forks,
            zygotes=self._forks,
            shares=sharing.possible(),
        )

    @property
    def _forks(self) -> bool:
        """Whether templates are processes (`forking`), or saved to memory (`saved_template`)."""
        if not self._config.forks:
            return False
        try:
            return can_fork(choose(self._config.qemu).path, self._accelerator.name)
        except VmFailed:
            return False

    async def launch(self, spec: VmSpec) -> Vm:
        """See `Driver.launch`. The order is: directory, record, groups, descriptors, process, record again."""
        return await self._start(spec)

    async def _start(self, spec: VmSpec, memory: int | None = None, forking: bool = False) -> QemuVm:
        """*memory* is that of a template that is saved; *forking*: it is one that others are forked of."""
        with ExitStack() as descriptors:
            if spec.nic is not None:
                descriptors.callback(os.close, spec.nic.tap)
            shapes.check(spec)
            shapes.check_template(spec, self.template_key)
            program = choose(self._config.qemu).path
            try:
                if forking:
                    adopt_orphans()
                directory = VmDirectory.create(self._config.vms, spec.id)
                try:
                    if forking:
                        self._templates.add(spec.id)
                    return await self._launch(program, spec, memory, forking, directory, descriptors)
                except BaseException:
                    # Whoever cancels a launch waits for the little that it takes to undo it.
                    await finish(self.discard(spec.id))
                    raise
            except OSError as error:
                raise _translated(error) from error

    async def _launch(
        self,
        program: str,
        spec: VmSpec,
        memory: int | None,
        forking: bool,
        directory: VmDirectory,
        descriptors: ExitStack,
    ) -> QemuVm:
        pair: ControlPair | None = None
        slots = Slots(spec.disks)
        with contextlib.ExitStack() as undo:
            undo.callback(directory.close)
            planned = self._planned(spec.id)
            record = Record(spec.id, self._uids.take(), self._accelerator.name, planned)
            directory.write_record(record)
            groups = self._cgroups.create(spec.id, Limits.of_vm(spec.vcpus, spec.memory_mib, spec.cpu_quota))
            if spec.shared:  # whose server reads and writes it
                memory = memfd.create("hypercell-memory", spec.memory_mib * 1024**2)
                descriptors.callback(os.close, memory)
            inherited = _open(spec, memory, directory, descriptors)
            if spec.template is not None or forking:
                directory.mark(records.HALF_MADE)
            output = directory.make_pipe(records.LOG_PIPE)
            descriptors.callback(os.close, output)
            entrances = cgroups.entrances(groups)
            for entrance in entrances:
                descriptors.callback(os.close, entrance)
            if spec.shared:
                server, connected = sharing.serve(directory, spec.shared, entrances, output)
                descriptors.callback(os.close, connected)
                self._accompany(server)
                inherited = replace(inherited, share=connected)
            if isinstance(spec.template, LivingTemplate):
                spec.template.check_groups(len(entrances))
                pair = ControlPair(undo, descriptors)
                pid, slots = await spec.template.fork(spec.id, record.uid, pair.given(output, inherited, entrances))
            else:
                command = command_line.build(program, record.accelerator, spec, inherited, forking)
                rights = _groups(record.accelerator)
                pid = spawn.spawn(command, record.uid, rights, entrances, inherited.all(), output, forking)
            undo.callback(end_child, pid)
            process = Process.child(pid)
            undo.callback(process.close)
            record = replace(record, pid=pid, start_time=start_time(pid))
            directory.write_record(record)
            vm = self._vms[spec.id] = QemuVm(directory, record, process)
            undo.pop_all()
        vm.slots = slots
        if pair is not None:
            disks = {slot: (spec.disks[slot], number) for slot, number in inherited.disks.items()}
            await vm.carry_on(*await pair.streams(), disks)
            return vm
        if inherited.state is not None:
            await vm.restore(inherited.state)
            return vm
        descriptors.close()  # ours; were the listening ends kept open, a dead VM would still take connections
        try:
            await vm.attach()
        except Unavailable as error:
            raise VmFailed(error.message, "hypervisor-failed", await vm.hypervisor_log()) from error
        if process.gone:
            raise await _refusal(vm, spec.memory_mib)
        return vm

    def template_key(self, spec: VmSpec) -> str:
        program = Path(choose(self._config.qemu).path)
        tap = None if spec.nic is None else 0
        shape = command_line.Descriptors(agent=0, qmp=0, console=0, kernel=0, initrd=0, tap=tap, memory=0)
        words = command_line.build(str(program), self._accelerator.name, shapes.bare(replace(spec, id="")), shape)
        return key_of(words, [program, spec.kernel.image(spec.vcpus), spec.kernel.initrd])

    async def make_template(self, spec: VmSpec, settle: Callable[[Vm], Awaitable[None]]) -> Template:
        """See `Driver.make_template`. What is left of one that was cut short is a VM, and memory that ends with us."""
        key, spec = self._of_template(spec)
        if not self._forks:
            return await self._make_saved(key, spec, settle)

        async def rehearse(vm: QemuVm) -> None:
            await settle(vm)
            # What only a boot and a first time need is most of it; a second time leaves what starts need.
            await vm.forget_translations()
            await settle(vm)
            await vm.empty()  # what it had is no clone's
            await vm.pause()

        return await self._make_living(key, spec, rehearse, boots=False)

    async def make_zygote(self, spec: VmSpec, settle: Callable[[Vm], Awaitable[None]]) -> Template:
        """See `Driver.make_zygote`."""
        key, spec = self._of_template(spec)
        if not self._forks:
            with _consumed(spec):
                raise Unsupported("hypervisors are not forked here", "build the slim QEMU: make qemu")

        async def rehearse(vm: QemuVm) -> None:
            await settle(vm)
            await vm.empty()
            await vm.pause()
            await vm.rewind()

        return await self._make_living(key, spec, rehearse, boots=True)

    def _of_template(self, spec: VmSpec) -> tuple[str, VmSpec]:
        """The key, and what is launched. On an error, the tap is closed."""
        spec = replace(spec, cpu_quota=0.0, template=None)
        with _consumed(spec):
            shapes.check(spec)
            return self.template_key(spec), spec

    async def _make_saved(self, key: str, spec: VmSpec, settle: Callable[[Vm], Awaitable[None]]) -> Template:
        with ExitStack() as owned:
            try:
                with _consumed(spec):
                    memory = memfd.create("hypercell-memory", spec.memory_mib * 1024**2)
                    owned.callback(os.close, memory)
                    state = memfd.create("hypercell-state")
                    owned.callback(os.close, state)
                vm = await self._start(spec, memory)
                try:
                    await settle(vm)
                    await vm.save(state)
                finally:
                    await finish(self.discard(vm.id))
                template = SavedTemplate(key, memory, state)
            except OSError as error:
                raise _translated(error) from error
            owned.pop_all()
        return template

    async def _make_living(
        self, key: str, spec: VmSpec, rehearse: Callable[[QemuVm], Awaitable[None]], boots: bool
    ) -> Template:
        vm = await self._start(spec, forking=True)
        try:
            await rehearse(vm)
            size = (await vm.host_usage()).pss_bytes
        except BaseException:
            await finish(self.discard(vm.id))
            raise
        return LivingTemplate(key, vm, size, lambda: self._end(vm.id), boots)

    def _end(self, vm_id: str) -> None:
        ending = asyncio.create_task(self.discard(vm_id), name=f"end of {vm_id[:12]}")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def claim(self, vm_id: str, spec: VmSpec) -> Vm:
        """See `Driver.claim`. The order is: rename, quota, disks; what is left after the first goes by the new name."""
        shapes.check_claim(vm_id, spec)
        vm = self._vms.get(vm_id)
        if vm is None or vm.slots is None:
            raise InvalidArgument(f"there is no VM {vm_id} to be claimed")
        with ExitStack() as descriptors:
            try:
                disks = _open_disks(spec, descriptors)
                await vm.running()
                vm.rename(spec.id)
                self._vms[spec.id] = self._vms.pop(vm_id)
                self._cgroups.limit(vm.record.born, Limits(cpu_quota=spec.cpu_quota))
                await vm.fill({slot: (spec.disks[slot], number) for slot, number in disks.items()})
            except OSError as error:
                raise _translated(error) from error
        return vm

    async def adopt(self, vm_id: str) -> Vm | None:
        if vm_id in self._vms:
            return self._vms[vm_id]
        directory = VmDirectory.open(self._config.vms, vm_id)
        record = directory.read_record() if directory else None
        process = Process.find(record.pid, record.start_time) if record and record.boot == records.boot_id() else None
        if directory is None or record is None or process is None or directory.marked(records.HALF_MADE):
            if process is not None:
                process.close()
            if directory is not None:
                directory.close()
            await self.discard(vm_id)
            return None
        self._uids.hold(record.uid)
        vm = self._vms[vm_id] = QemuVm(directory, record, process)
        with contextlib.suppress(Unavailable):  # it hangs; its owner will notice that the agent does not answer
            await vm.attach()
        if process.gone:
            await self.discard(vm_id)
            return None
        return vm

    async def known(self) -> list[str]:
        return [vm_id for vm_id in VmDirectory.ids(self._config.vms) if vm_id not in self._templates]

    async def discard(self, vm_id: str) -> None:
        records.check_id(vm_id)
        try:
            await self._discard(vm_id)
        finally:
            self._templates.discard(vm_id)

    async def _discard(self, vm_id: str) -> None:
        vm = self._vms.pop(vm_id, None)
        if vm is not None:
            await vm.kill()
            await vm.wait()
            await vm.detach()
        directory = VmDirectory.open(self._config.vms, vm_id)
        if directory is not None:
            record = directory.read_record()
            directory.close()
            if record is not None:
                await self._remove_leftovers(record)
        records.remove(self._config.vms / vm_id)

    async def _remove_leftovers(self, record: Record) -> None:
        """End the process of *record*, if any, and remove its groups."""
        if record.boot == records.boot_id():
            pid, started = record.pid, record.start_time
            if not pid:
                pid = await asyncio.to_thread(find_hypervisor, record.uid, record.born)
                started = start_time(pid) if pid else 0
            process = Process.find(pid, started) if pid else None
            if process is not None:
                process.kill()
                await process.wait()
        await asyncio.to_thread(cgroups.remove, [Path(path) for path in record.cgroups])
        self._uids.release(record.uid)

    def _accompany(self, pid: int) -> None:
        """Wait for our child *pid*, which ends when its VM does."""

        async def wait() -> None:
            process = Process.child(pid)
            try:
                await process.wait()
            finally:
                process.close()

        task = asyncio.create_task(wait(), name=f"process {pid}")
        self._companions.add(task)
        task.add_done_callback(self._companions.discard)

    async def close(self) -> None:
        for companion in self._companions:
            companion.cancel()
        await asyncio.gather(*self._ending, *self._companions, return_exceptions=True)
        vms, self._vms = self._vms, {}
        for vm in vms.values():
            await vm.detach()

    def _planned(self, vm_id: str) -> list[str]:
        """Where the groups of a new VM will be. Raises `InvalidArgument` while one lives that was born by this name."""
        planned = self._cgroups.directories(vm_id)
        if any(path.exists() for path in planned):
            raise InvalidArgument(f"a VM that was called {vm_id} has another name now, and still its groups")
        return [str(path) for path in planned]

    def _hold_uid(self, vm_id: str) -> None:
        directory = VmDirectory.open(self._config.vms, vm_id)
        if directory is not None:
            record = directory.read_record()
            directory.close()
            if record is not None:
                self._uids.hold(record.uid)


@contextlib.contextmanager
def _consumed(spec: VmSpec) -> Iterator[None]:
    """On an error, the tap is closed."""
    try:
        yield
    except BaseException:
        if spec.nic is not None:
            os.close(spec.nic.tap)
        raise


def _groups(accelerator: str) -> list[int]:
    """The supplementary groups of a hypervisor: none, but that of /dev/kvm where it is needed to open it."""
    return (accel.device_groups() or []) if accelerator == accel.KVM else []


def _open(spec: VmSpec, memory: int | None, directory: VmDirectory, descriptors: ExitStack) -> command_line.Descriptors:
    """Open all that the hypervisor inherits; *descriptors* closes it. *memory* is that of a template that is made."""

    def keep(number: int) -> int:
        descriptors.callback(os.close, number)
        return number

    def listen(name: str) -> int:
        listener: socket = directory.listen(name)
        descriptors.callback(listener.close)
        return listener.fileno()

    kernel = initrd = state = None
    if spec.template is None:
        kernel = keep(spawn.open_boot_file(spec.kernel.image(spec.vcpus)))
        initrd = keep(spawn.open_boot_file(spec.kernel.initrd))
    elif isinstance(spec.template, SavedTemplate):
        memory, state = map(keep, spec.template.open())
    return command_line.Descriptors(
        agent=listen(records.AGENT_SOCKET),
        qmp=listen(records.QMP_SOCKET),
        console=listen(records.CONSOLE_SOCKET),
        kernel=kernel,
        initrd=initrd,
        disks=_open_disks(spec, descriptors),
        tap=spec.nic.tap if spec.nic else None,
        memory=memory,
        state=state,
    )


def _open_disks(spec: VmSpec, descriptors: ExitStack) -> dict[Slot, int]:
    opened = {}
    for slot, disk in spec.disks.items():
        opened[slot] = spawn.open_disk(disk.path, disk.read_only)
        descriptors.callback(os.close, opened[slot])
    return opened


async def _refusal(vm: QemuVm, memory_mib: int) -> VmFailed | Unavailable:
    ended = await vm.wait()
    if exits.no_memory(ended):
        return Unavailable(
            f"this machine has no memory for a VM of {memory_mib} MiB",
            "choose a smaller one (--size, --memory), or stop other containers",
        )
    # A guest that was quicker than our greeting is told by its own reason; all else is the hypervisor's refusal.
    reason = ended.reason.value if ended.reason is not ExitReason.UNKNOWN else ExitReason.FAILED.value
    return VmFailed(f"the hypervisor ended at once: {ended.detail}", reason, "see docs/debugging.md")


def _translated(error: OSError) -> NoSpace | Unavailable | VmFailed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space to start a VM: {error.strerror}", "free some, or look at `hypercell system df`")
    if error.errno in SHORT:
        return Unavailable(f"the daemon cannot start a VM now: {error.strerror}", "try again, or raise its limits")
    text = error.strerror or str(error)
    return VmFailed(f"cannot start a hypervisor: {text}", "hypervisor-failed", "run `hypercell doctor`")
