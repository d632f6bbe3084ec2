# SPDX-License-Identifier: Apache-2.0
"""The QEMU driver: launches, finds again and removes VMs (docs/adr/0002-device-slots.md)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from socket import socket

from hypercell.base.config import Config
from hypercell.base.errors import InvalidArgument, NoSpace, Unavailable, VmFailed
from hypercell.vm import accel, cgroups, command_line, records, spawn
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import Capabilities, ExitReason, Vm, VmSpec
from hypercell.vm.limits import Limits
from hypercell.vm.processes import Process, find_hypervisor, start_time
from hypercell.vm.program import choose
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.records import Record, VmDirectory
from hypercell.vm.uids import UidPool

MAX_VCPUS = 16
"""NR_CPUS of our kernel (guest/kernel/fragment)."""
_LEAST_MEMORY_MIB = 32
_MOST_MEMORY_MIB = 1024 * 1024
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class QemuDriver:
    """Implements `driver.Driver`. One per daemon; its methods are called from one event loop."""

    name = "qemu"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._accelerator = accel.choose(config.accelerator)
        self._uids = UidPool(config.uid_base, config.uid_count, config.run)
        self._cgroups = CgroupTree.of_host(config.run)
        self._vms: dict[str, QemuVm] = {}
        for vm_id in VmDirectory.ids(config.vms):
            self._hold_uid(vm_id)

    @property
    def accelerator(self) -> accel.Accelerator:
        return self._accelerator

    @property
    def missing_controllers(self) -> list[str]:
        """Of `cpu` and `memory`, what this host can neither limit nor count for a VM."""
        return self._cgroups.missing()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            accelerator=self._accelerator.name, real=True, pause=True, adopt=True, templates=False, max_vcpus=MAX_VCPUS
        )

    async def launch(self, spec: VmSpec) -> Vm:
        """See `Driver.launch`. The order is: directory, record, groups, descriptors, process, record again."""
        with ExitStack() as descriptors:
            if spec.nic is not None:
                descriptors.callback(os.close, spec.nic.tap)
            _check(spec)
            program = choose(self._config.qemu).path
            try:
                directory = VmDirectory.create(self._config.vms, spec.id)
                try:
                    return await self._launch(program, spec, directory, descriptors)
                except BaseException:
                    # Whoever cancels a launch waits for the little that it takes to undo it.
                    await asyncio.shield(self.discard(spec.id))
                    raise
            except OSError as error:
                raise _translated(error) from error

    async def _launch(self, program: str, spec: VmSpec, directory: VmDirectory, descriptors: ExitStack) -> QemuVm:
        with contextlib.ExitStack() as undo:
            undo.callback(directory.close)
            planned = [str(path) for path in self._cgroups.directories(spec.id)]
            record = Record(spec.id, self._uids.take(), self._accelerator.name, planned)
            directory.write_record(record)
            groups = self._cgroups.create(spec.id, Limits.of_vm(spec.vcpus, spec.memory_mib, spec.cpu_quota))
            inherited = _open(spec, directory, descriptors)
            output = directory.make_pipe(records.LOG_PIPE)
            descriptors.callback(os.close, output)
            passed = inherited.all() + ([spec.nic.tap] if spec.nic else [])
            command = command_line.build(program, record.accelerator, spec, inherited)
            pid = spawn.spawn(command, record.uid, _groups(record.accelerator), passed, output)
            cgroups.join(groups, pid)
            process = Process.child(pid)
            record = replace(record, pid=pid, start_time=start_time(pid))
            directory.write_record(record)
            undo.pop_all()
        vm = self._vms[spec.id] = QemuVm(directory, record, process)
        descriptors.close()  # ours; were the listening ends kept open, a dead VM would still take connections
        try:
            await vm.attach()
        except Unavailable as error:
            raise VmFailed(error.message, "hypervisor-failed", await vm.hypervisor_log()) from error
        if process.gone:
            raise await _refusal(vm)
        return vm

    async def adopt(self, vm_id: str) -> Vm | None:
        if vm_id in self._vms:
            return self._vms[vm_id]
        directory = VmDirectory.open(self._config.vms, vm_id)
        record = directory.read_record() if directory else None
        process = Process.find(record.pid, record.start_time) if record and record.boot == records.boot_id() else None
        if directory is None or record is None or process is None:
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
        return VmDirectory.ids(self._config.vms)

    async def discard(self, vm_id: str) -> None:
        records.check_id(vm_id)
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
        await asyncio.to_thread(cgroups.remove, self._cgroups.directories(vm_id))
        records.remove(self._config.vms / vm_id)

    async def _remove_leftovers(self, record: Record) -> None:
        """End the process of *record*, if any, and remove its groups."""
        if record.boot == records.boot_id():
            pid, started = record.pid, record.start_time
            if not pid:
                pid = await asyncio.to_thread(find_hypervisor, record.uid, record.id)
                started = start_time(pid) if pid else 0
            process = Process.find(pid, started) if pid else None
            if process is not None:
                process.kill()
                await process.wait()
        await asyncio.to_thread(cgroups.remove, [Path(path) for path in record.cgroups])
        self._uids.release(record.uid)

    async def close(self) -> None:
        vms, self._vms = self._vms, {}
        for vm in vms.values():
            await vm.detach()

    def _hold_uid(self, vm_id: str) -> None:
        directory = VmDirectory.open(self._config.vms, vm_id)
        if directory is not None:
            record = directory.read_record()
            directory.close()
            if record is not None:
                self._uids.hold(record.uid)


def _check(spec: VmSpec) -> None:
    """Raise `InvalidArgument` for what would not be a VM. The kernel's command line is ours."""
    records.check_id(spec.id)
    if not 1 <= spec.vcpus <= MAX_VCPUS:
        raise InvalidArgument(f"a VM has 1 to {MAX_VCPUS} CPUs, not {spec.vcpus}")
    if not _LEAST_MEMORY_MIB <= spec.memory_mib <= _MOST_MEMORY_MIB:
        raise InvalidArgument(f"a VM has {_LEAST_MEMORY_MIB} MiB to 1 TiB of memory, not {spec.memory_mib} MiB")
    if spec.nic is not None and not _MAC.fullmatch(spec.nic.mac):
        raise InvalidArgument(f"{spec.nic.mac[:40]!r} is no MAC address", "six lower-case hex bytes with colons")


def _groups(accelerator: str) -> list[int]:
    """The supplementary groups of a hypervisor: none, but that of /dev/kvm where it is needed to open it."""
    return (accel.device_groups() or []) if accelerator == accel.KVM else []


def _open(spec: VmSpec, directory: VmDirectory, descriptors: ExitStack) -> command_line.Descriptors:
    """Open all that the hypervisor inherits; *descriptors* closes it."""

    def keep(number: int) -> int:
        descriptors.callback(os.close, number)
        return number

    def listen(name: str) -> int:
        listener: socket = directory.listen(name)
        descriptors.callback(listener.close)
        return listener.fileno()

    return command_line.Descriptors(
        agent=listen(records.AGENT_SOCKET),
        qmp=listen(records.QMP_SOCKET),
        console=listen(records.CONSOLE_SOCKET),
        kernel=keep(spawn.open_boot_file(spec.kernel.vmlinux)),
        initrd=keep(spawn.open_boot_file(spec.kernel.initrd)),
        disks={slot: keep(spawn.open_disk(disk.path, disk.read_only)) for slot, disk in spec.disks.items()},
    )


async def _refusal(vm: QemuVm) -> VmFailed:
    ended = await vm.wait()
    # A guest that was quicker than our greeting is told by its own reason; all else is the hypervisor's refusal.
    reason = ended.reason.value if ended.reason is not ExitReason.UNKNOWN else ExitReason.FAILED.value
    return VmFailed(f"the hypervisor ended at once: {ended.detail}", reason, "see docs/debugging.md")


def _translated(error: OSError) -> NoSpace | VmFailed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space to start a VM: {error.strerror}", "free some, or look at `hypercell system df`")
    text = error.strerror or str(error)
    return VmFailed(f"cannot start a hypervisor: {text}", "hypervisor-failed", "run `hypercell doctor`")
