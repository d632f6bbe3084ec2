# SPDX-License-Identifier: Apache-2.0
"""A driver under test, with what its interface does not offer: harm from outside."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypercell.base.config import Config
from hypercell.vm import fake, open_driver
from hypercell.vm.driver import Driver, GuestKernel, Template, Vm, VmSpec
from hypercell.vm.qemu_vm import QemuVm
from tests.support.vm import greet, guest_kernel, specification, traces
from tests.vm.guest_tools import panicking


@dataclass
class Rig:
    config: Config
    kernel: GuestKernel
    driver: Driver
    murder: Callable[[Vm], None]
    """Kill the hypervisor, as anybody with the right might."""
    made: list[Template] = field(default_factory=list)
    """Templates and zygotes: closed in the end by a test that fails, too."""

    def specification(self, **other: object) -> VmSpec:
        return specification(self.config.root, self.kernel, **other)

    async def panicking(self) -> Vm:
        """A VM whose kernel panics at once."""
        if isinstance(self.driver, fake.FakeDriver):
            vm = await self.driver.launch(self.specification())
            self.driver.machine.panic(vm.id)
            return vm
        initrd = panicking(self.kernel.initrd, self.config.root)
        return await self.driver.launch(self.specification(kernel=replace(self.kernel, initrd=initrd)))

    async def template(self, **other: object) -> Template:
        """One of the shape of `specification`."""
        self.made.append(await self.driver.make_template(self.specification(disks={}, **other), _settle))
        return self.made[-1]

    async def zygote(self, **other: object) -> Template:
        self.made.append(await self.driver.make_zygote(self.specification(disks={}, **other), _settle))
        return self.made[-1]

    async def restart(self) -> None:
        """The daemon ends and another begins."""
        await self.driver.close()
        self.driver = open_driver(self.config)

    async def clean_up(self) -> None:
        for template in self.made:
            template.close()
        for vm_id in await self.driver.known():
            await self.driver.discard(vm_id)
        assert await self.driver.known() == []
        await self.driver.close()


async def _settle(vm: Vm) -> None:
    agent = await greet(vm)
    await agent.request("ping")
    await agent.close()


def qemu_rig(config: Config, kernel: GuestKernel) -> Rig:
    config.root.mkdir(parents=True)
    return Rig(config, kernel, open_driver(config), lambda vm: os.kill(vm.pid, signal.SIGKILL))


def fake_rig(config: Config, kernel: GuestKernel) -> Rig:
    config.root.mkdir(parents=True)
    machine = fake.machine(config.run)
    return Rig(config, kernel, open_driver(config), lambda vm: machine.kill(vm.id))


@contextlib.asynccontextmanager
async def traceless_rig(config: Config) -> AsyncIterator[Rig]:
    """One of which nothing is left afterwards."""
    rig = qemu_rig(config, guest_kernel(config))
    yield rig
    await rig.clean_up()
    after = traces(config)
    assert (after.directories, after.groups, after.processes) == ((), (), ())


async def cloned(rig: Rig, template: Template, **other: Any) -> QemuVm:
    vm = await rig.driver.launch(rig.specification(template=template, **other))
    assert isinstance(vm, QemuVm)
    return vm
