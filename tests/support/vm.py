# SPDX-License-Identifier: Apache-2.0
"""What tests of virtual machines share: settings of their own, specifications, and what a VM leaves behind."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hypercell.agent import Agent, Client, connect
from hypercell.base.config import Config
from hypercell.base.errors import NotFound
from hypercell.vm import find_kernel, probe
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import Disk, GuestKernel, Slot, Vm, VmSpec
from hypercell.vm.forking import can_fork
from hypercell.vm.program import AUTO, DISTRIBUTION, SLIM, choose

GREETING = 60.0
"""Seconds that a guest may take to greet on a machine that does other things as well."""


def settings(directory: Path, **other: Any) -> Config:
    """Settings whose every path lies in *directory*."""
    other.setdefault("guest_dir", Path(os.environ.get("HYPERCELL_GUEST", Config().guest_dir)))
    other.setdefault("qemu", os.environ.get("HYPERCELL_QEMU", Config().qemu))
    return Config(root=directory / "root", run=directory / "run", **other)


KINDS = ("saved", "forked")
"""Of templates."""


def settings_for(kind: str, directory: Path, **other: Any) -> Config:
    """Settings for templates of that *kind*; the test is skipped where none can be made."""
    if kind == "saved":
        return settings(directory, qemu=DISTRIBUTION, **other)
    if choose(AUTO).path != str(SLIM) or not can_fork(str(SLIM), "tcg"):
        pytest.skip("the slim QEMU, whose templates are forked, is not built: make qemu")
    return settings(directory, qemu=str(SLIM), accelerator="tcg", **other)


def guest_kernel(config: Config) -> GuestKernel:
    """A kernel to boot; the test is skipped where none was built."""
    try:
        return find_kernel(config, probe(config))
    except NotFound as error:
        pytest.skip(str(error))


def vm_id() -> str:
    return secrets.token_hex(32)


def image(path: Path, mib: int = 1) -> Path:
    """A sparse file of zeroes."""
    with path.open("wb") as file:
        file.truncate(mib * 1024**2)
    return path


def specification(directory: Path, boots: GuestKernel, **other: Any) -> VmSpec:
    """A small VM with a writable disk of its own."""
    name = vm_id()
    disks = {Slot.WRITABLE: Disk(image(directory / f"{name}.rw"), read_only=False)}
    members: dict[str, Any] = {"id": name, "vcpus": 1, "memory_mib": 64 + boots.overhead_mib, "kernel": boots}
    return VmSpec(**{**members, "disks": disks, **other})


async def greet(vm: Vm) -> Client:
    return await connect(vm.connect_agent, lambda event: None, GREETING)


async def boot_id(agent: Agent, entropy: bytes = b"") -> str:
    """Gives the guest entropy and clock, as it has no boot id before."""
    words = base64.b64encode(entropy or os.urandom(64)).decode()
    reply = await agent.request("configure", {"entropy": words, "clock_ns": time.time_ns()})
    return str(reply["boot_id"])


@dataclass(frozen=True)
class Traces:
    """All that exists of the VMs under one run directory, and the descriptors of this process."""

    directories: tuple[str, ...]
    groups: tuple[str, ...]
    processes: tuple[int, ...]
    descriptors: int


def traces(config: Config) -> Traces:
    tree = CgroupTree.of_host(config.run)
    parents = [path.parent for path in tree.directories("x")]
    return Traces(
        directories=tuple(sorted(path.name for path in config.vms.glob("*"))),
        groups=tuple(str(path) for path in parents if path.exists()),
        processes=tuple(hypervisors(config)),
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
    )


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process name; the one by which this is found out is not among them."""
    found = []
    for file in (Path("/proc") / str(pid) / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(file.readlink()))
    return found


def hypervisors(config: Config) -> list[int]:
    """Processes that hold an open file below the run directory's VMs, or a socket bound there."""
    found = []
    wanted = str(config.vms)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and entry.name != str(os.getpid()):
            try:
                links = open_files(int(entry.name))
            except OSError:
                continue
            if any(link.startswith(wanted) for link in links):
                found.append(int(entry.name))
    return sorted(found)
