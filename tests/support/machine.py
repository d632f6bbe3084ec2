# SPDX-License-Identifier: Apache-2.0
"""A machine whose VMs are fake guests, and a driver for it that works from another process too.

The guests live in the process that made the `Machine`; a `MachineDriver` only knows its socket. So a daemon under test
can be killed for good while its VMs go on, as real ones do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypercell.agent.fake import FakeGuest, Faults
from hypercell.base.errors import Conflict, InvalidArgument, VmFailed
from hypercell.vm.driver import (
    DEVICE_MAC,
    Capabilities,
    Disk,
    ExitReason,
    GuestKernel,
    HostUsage,
    Template,
    VmExit,
    VmSpec,
)

KERNEL = GuestKernel("fake", Path("/vmlinux"), Path("/initrd"), "", False, 16, "6.1.0-fake")

COST = HostUsage(cpu_ns=10**7, rss_bytes=60 * 1024**2, pss_bytes=40 * 1024**2, own_bytes=40 * 1024**2)
"""Of every VM."""


class _FakeVm:
    def __init__(self, machine: Machine, spec: dict[str, Any]) -> None:
        self.machine = machine
        self.spec = spec
        self.template = spec.get("template", "")
        """The key of what it is a clone of."""
        self.path = machine.directory / f"{spec['id'][:16]}.{machine.launches}.sock"
        self.ended: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self.guest = FakeGuest(self._shut_down, self._died, machine.faults_of(self.template))
        self.expecting = False
        self.plugged: dict[str, tuple[str, bool]] = {}
        """By name: the path of the disk, and whether it is read-only."""

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self.guest.serve, self.path)

    def _shut_down(self) -> None:
        self.end(ExitReason.SHUTDOWN if self.expecting else ExitReason.GUEST_RESET)

    def _died(self, reason: str) -> None:
        self.end(ExitReason(reason))

    def end(self, reason: ExitReason, detail: str = "") -> None:
        self.guest._stop()
        if not self.ended.done():
            self.ended.set_result([reason.value, detail])
        self.server.close()
        self.path.unlink(missing_ok=True)


class Machine:
    """Holds the VMs. `await start()`, then hand `path` to drivers; `await close()` ends everything."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "machine.sock"
        self.vms: dict[str, _FakeVm] = {}
        self.launches = 0
        self.faults = Faults()
        """Of the VMs that are launched from now on."""
        self.clone_faults: Faults | None = None
        """Of the clones that are launched from now on, if they are not those of all."""
        self.refuse: str = ""
        """A reason for which launches fail."""
        self.refuse_templates: str = ""
        """A reason for which templates cannot be made."""
        self.templates_made = 0
        self.claims = 0
        self.disks: dict[str, dict[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        self._server.close()
        for vm in list(self.vms.values()):
            vm.end(ExitReason.KILLED)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def faults_of(self, template: str) -> Faults:
        return self.clone_faults if template and self.clone_faults is not None else self.faults

    def guest(self, vm_id: str) -> FakeGuest:
        return self.vms[vm_id].guest

    def running(self) -> list[str]:
        return [vm_id for vm_id, vm in self.vms.items() if not vm.ended.done()]

    def crash(self, vm_id: str, reason: ExitReason = ExitReason.KILLED, detail: str = "") -> None:
        """As if somebody killed the hypervisor."""
        self.vms[vm_id].end(reason, detail)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                answer = await self._answer(json.loads(line))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()
        self._tasks.discard(task)

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        op, vm_id = request["op"], request.get("id", "")
        if op == "launch":
            return await self._launch(request)
        if op == "known":
            return {"known": list(self.vms)}
        if op == "template":
            return {"refused": self.refuse_templates}
        if op == "saved":
            self.templates_made += 1
            return {}
        vm = self.vms.get(vm_id)
        if op == "find":
            alive = vm is not None and not vm.ended.done()
            if not alive:
                self.vms.pop(vm_id, None)
            return {"path": str(vm.path)} if vm is not None and alive else {}
        if vm is None:
            return {"ended": [ExitReason.UNKNOWN.value, ""]}
        if op == "claim":
            return self._claim(vm, request)
        if op == "plug":
            return self._plug(vm, request)
        if op == "unplug":
            return {} if vm.plugged.pop(request["name"], None) else {"missing": request["name"]}
        if op == "expect":
            vm.expecting = True
        elif op == "kill":
            vm.end(ExitReason.SHUTDOWN)
        elif op == "discard":
            vm.end(ExitReason.SHUTDOWN)
            del self.vms[vm_id]
        elif op == "wait":
            return {"ended": await asyncio.shield(vm.ended)}
        return {}

    async def _launch(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.refuse:
            return {"refused": self.refuse}
        self.launches += 1
        self.disks[request["id"]] = request["disks"]
        vm = _FakeVm(self, request)
        await vm.start()
        self.vms[request["id"]] = vm
        return {"path": str(vm.path)}

    def _claim(self, vm: _FakeVm, request: dict[str, Any]) -> dict[str, Any]:
        if vm.ended.done():
            return {"ended": vm.ended.result()}
        self.claims += 1
        del self.vms[request["id"]]
        vm.spec["id"] = request["to"]
        self.vms[request["to"]] = vm
        self.disks[request["to"]] = request["disks"]
        return {"path": str(vm.path)}

    def _plug(self, vm: _FakeVm, request: dict[str, Any]) -> dict[str, Any]:
        """With QEMU's lock: one that writes to a file, or many that read it."""
        path, read_only = request["path"], request["read_only"]
        if request["name"] in vm.plugged:
            return {"taken": request["name"]}
        for other in self.vms.values():
            for taken, only in other.plugged.values():
                if taken == path and not other.ended.done() and not (only and read_only):
                    return {"locked": path}
        vm.plugged[request["name"]] = (path, read_only)
        return {}

    def waiting(self, home: set[str]) -> list[str]:
        """VMs that belong to none of the pods *home*."""
        return [vm_id for vm_id in self.running() if vm_id not in home]


class MachineVm:
    """Implements `vm.driver.Vm`."""

    def __init__(self, driver: MachineDriver, vm_id: str, path: str) -> None:
        self.id = vm_id
        self.pid = 4242
        self.accelerator = "none"
        self.device_mac = DEVICE_MAC
        self._driver = driver
        self._path = path
        self._ended: VmExit | None = None

    async def connect_agent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(self._path)
        except OSError as error:
            raise VmFailed("the VM is gone", "hypervisor-killed") from error

    async def wait(self) -> VmExit:
        if self._ended is None:
            reason, detail = (await self._driver.ask("wait", id=self.id))["ended"]
            self._ended = VmExit(ExitReason(reason), detail)
        return self._ended

    def expect_shutdown(self) -> None:
        self._driver.tell("expect", id=self.id)

    async def kill(self) -> None:
        await self._driver.ask("kill", id=self.id)

    async def pause(self) -> None: ...
    async def resume(self) -> None: ...

    async def plug(self, name: str, disk: Disk) -> None:
        members = {"name": name, "path": str(disk.path), "read_only": disk.read_only}
        answer = await self._driver.ask("plug", id=self.id, **members)
        if "ended" in answer:
            raise VmFailed("the VM is gone", "hypervisor-killed")
        if "taken" in answer:
            raise InvalidArgument(f"the VM has a disk called {name} already")
        if "locked" in answer:
            raise Conflict(f"another VM has the disk {disk.path}")

    async def unplug(self, name: str) -> None:
        if "missing" in await self._driver.ask("unplug", id=self.id, name=name):
            raise InvalidArgument(f"the VM has no disk called {name}")

    async def console(self) -> str:
        return "fake console\n"

    async def host_usage(self) -> HostUsage:
        return COST


class MachineTemplate:
    """Implements `vm.driver.Template`."""

    bytes = 30 * 1024**2

    def __init__(self, key: str) -> None:
        self.key = key
        self.closed = False

    def close(self) -> None:
        self.closed = True


class MachineDriver:
    """Implements `vm.driver.Driver` on a `Machine`, which may live in another process."""

    name = "machine"

    def __init__(self, path: Path, templates: bool = False, zygotes: bool = False) -> None:
        self.capabilities = Capabilities(
            "none", real=False, pause=True, adopt=True, templates=templates, max_vcpus=8, zygotes=zygotes
        )
        self._path = path
        self._told: set[asyncio.Task[Any]] = set()

    async def ask(self, op: str, **members: Any) -> dict[str, Any]:
        for task in list(self._told):
            await asyncio.wait({task})
        return await self._ask(op, members)

    async def _ask(self, op: str, members: dict[str, Any]) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            writer.write(json.dumps({"op": op, **members}).encode() + b"\n")
            return dict(json.loads(await reader.readline()))
        finally:
            writer.close()

    def tell(self, op: str, **members: Any) -> None:
        task = asyncio.ensure_future(self._ask(op, members))
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    async def launch(self, spec: VmSpec) -> MachineVm:
        if spec.nic is not None and spec.nic.tap >= 0:
            os.close(spec.nic.tap)
        template = ""
        if spec.template is not None:
            template = spec.template.key
            assert isinstance(spec.template, MachineTemplate) and not spec.template.closed
            assert template == self.template_key(spec)
        answer = await self.ask("launch", id=spec.id, template=template, disks=_paths(spec))
        if "refused" in answer:
            raise VmFailed(f"the hypervisor failed: {answer['refused']}", "hypervisor-failed")
        return MachineVm(self, spec.id, answer["path"])

    def template_key(self, spec: VmSpec) -> str:
        return f"{spec.kernel.name}-{spec.memory_mib}-{spec.vcpus}-{spec.nic is not None}"

    async def make_template(self, spec: VmSpec, settle: Callable[[MachineVm], Awaitable[None]]) -> Template:
        if refused := (await self.ask("template"))["refused"]:
            if spec.nic is not None:
                os.close(spec.nic.tap)
            raise VmFailed(f"the template cannot be saved: {refused}", "hypervisor-failed")
        vm = await self.launch(replace(spec, template=None))
        try:
            await settle(vm)
        finally:
            await asyncio.shield(self.discard(spec.id))
        await self.ask("saved")
        return MachineTemplate(self.template_key(spec))

    make_zygote = make_template

    async def claim(self, vm_id: str, spec: VmSpec) -> MachineVm:
        answer = await self.ask("claim", id=vm_id, to=spec.id, disks=_paths(spec))
        if "path" not in answer:
            raise VmFailed("the VM has ended", "hypervisor-killed")
        return MachineVm(self, spec.id, answer["path"])

    async def adopt(self, vm_id: str) -> MachineVm | None:
        answer = await self.ask("find", id=vm_id)
        return MachineVm(self, vm_id, answer["path"]) if answer else None

    async def known(self) -> list[str]:
        return list((await self.ask("known"))["known"])

    async def discard(self, vm_id: str) -> None:
        await self.ask("discard", id=vm_id)

    async def close(self) -> None: ...


def _paths(spec: VmSpec) -> dict[str, str]:
    return {slot.value: str(disk.path) for slot, disk in spec.disks.items()}
