# SPDX-License-Identifier: Apache-2.0
"""A factory of fake VMs, and who comes to it for some."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypercell.agent import connect
from hypercell.base.config import Config
from hypercell.base.errors import VmFailed
from hypercell.base.ids import new_id
from hypercell.vm.driver import DEVICE_MAC, Disk, Nic, Slot, Vm, VmSpec
from hypercell.vm.factory import Factory, Launched
from tests.support.house import eventually
from tests.support.machine import KERNEL, Machine, MachineDriver


class Customer:
    """Implements `factory.Client`, and remembers."""

    def __init__(self) -> None:
        self.opened = self.booted = 0
        self.given: list[str] = []
        self.vm: Vm | None = None
        self.wanted = True
        self.events: list[dict[str, Any]] = []
        self.on_found: Callable[[], None] = lambda: None

    async def open(self) -> int:
        self.opened += 1
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    async def give(self, spare: str) -> None:
        self.given.append(spare)

    def booting(self) -> contextlib.AbstractContextManager[None]:
        self.booted += 1
        return contextlib.nullcontext()

    def found(self, vm: Vm) -> None:
        self.vm = vm
        self.on_found()
        if not self.wanted:
            raise VmFailed("the VM was ended", "shutdown")

    def on_event(self, event: dict[str, Any]) -> None:
        self.events.append(event)


@dataclass
class FakeSample:
    """Implements `factory.Sample`."""

    config: dict[str, Any] = field(default_factory=lambda: {"process": {"args": ["rehearse"]}})
    files: tuple[dict[str, Any], ...] = ()

    @contextlib.asynccontextmanager
    async def disks(self, vm_id: str) -> AsyncIterator[dict[Slot, Disk]]:
        yield {Slot.ROOT: Disk(Path("/sample.erofs"), True), Slot.WRITABLE: Disk(Path(f"/{vm_id}.rw"), False)}


@dataclass(frozen=True)
class Spare:
    name: str
    descriptor: int


class Workshop:
    def __init__(self, directory: Path, machine: Machine, zygotes: bool = False, **settings: Any) -> None:
        chosen = {"pool_memory": 0, "boot_timeout": 3.0, **settings}
        self.machine = machine
        self.config = replace(Config(), root=directory, run=directory, guest_dir=directory, **chosen)
        self.driver = MachineDriver(machine.path, templates=True, zygotes=zygotes)
        self.spares = 0
        self.factory = Factory(self.config, self.driver, connect, self._spare, FakeSample())

    async def _spare(self) -> Spare:
        self.spares += 1
        return Spare(f"spare{self.spares}", os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def key(self, spec: VmSpec) -> str:
        """Of the template for *spec*."""
        return self.driver.template_key(replace(spec, nic=Nic(-1, DEVICE_MAC)))

    def open(self) -> None:
        """Begin to fill the pool."""
        self.factory.start(specification(id=""))

    async def launch(self, customer: Customer | None = None, **other: Any) -> Launched:
        spec = other.pop("spec", None) or specification()
        with self.factory.foreground():
            return await self.factory.launch(spec, customer or Customer(), **other)

    async def templated(self, count: int = 1) -> None:
        """Wait until there are so many templates."""
        await self.until(lambda: self.factory.figures().templates == count)

    async def filled(self, count: int) -> None:
        """Wait until so many VMs wait."""
        await self.until(lambda: sum(self.factory.figures().pooled.values()) == count)

    async def until(self, true: Callable[[], bool]) -> None:
        async def answer() -> bool:
            return true()

        await eventually(answer)


def specification(**other: Any) -> VmSpec:
    return VmSpec(**{"id": new_id(), "vcpus": 1, "memory_mib": 512, "kernel": KERNEL, **other})


Opener = Callable[..., Awaitable[Workshop]]


@contextlib.asynccontextmanager
async def workshops(directory: Path) -> AsyncIterator[Opener]:
    """Opens workshops on one machine; at the end nothing may run that is nobody's."""
    machine = Machine(directory)
    await machine.start()
    built: list[Workshop] = []

    async def make(**settings: Any) -> Workshop:
        built.append(Workshop(directory, machine, **settings))
        return built[-1]

    try:
        yield make
    finally:
        for workshop in built:
            await workshop.factory.close()
        await machine.close()
