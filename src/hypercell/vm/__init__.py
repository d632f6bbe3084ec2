# SPDX-License-Identifier: Apache-2.0
"""Virtual machines: the drivers that run them, the kernels that they boot, what the machine can do for them."""

from __future__ import annotations

from hypercell.base.config import Config
from hypercell.base.errors import InvalidArgument
from hypercell.vm import fake
from hypercell.vm.accel import Accelerator, choose
from hypercell.vm.driver import Driver, GuestKernel
from hypercell.vm.kernels import find_kernel as _find_kernel
from hypercell.vm.program import Program
from hypercell.vm.program import choose as _choose_program
from hypercell.vm.qemu import QemuDriver

__all__ = ["Accelerator", "Program", "find_kernel", "find_program", "open_driver", "probe"]


def probe(config: Config) -> Accelerator:
    """The accelerator that `config.accelerator` comes to on this machine, and why.

    Takes up to 2 s the first time in a process's life. Raises `Unsupported`, `InvalidArgument`.
    """
    return choose(config.accelerator)


def find_program(config: Config) -> Program:
    """The QEMU that `config.qemu` comes to on this machine, and why. Raises `VmFailed` when there is none."""
    return _choose_program(config.qemu)


def find_kernel(config: Config, accelerator: Accelerator | None = None) -> GuestKernel:
    """The kernel that `config.kernel` names. Raises `NotFound` when it is not built, `InvalidArgument`."""
    if config.driver == "fake":
        return fake.KERNEL
    return _find_kernel(config, accelerator or probe(config))


def open_driver(config: Config) -> Driver:
    """The driver that `config.driver` names. Raises `InvalidArgument` for one that does not exist."""
    if config.driver == "qemu":
        return QemuDriver(config)
    if config.driver == "fake":
        return fake.FakeDriver(config)
    raise InvalidArgument(f"no driver is called {config.driver!r}", "drivers are qemu and fake")
