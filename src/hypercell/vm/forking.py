# SPDX-License-Identifier: Apache-2.0
"""A template that is a process: a VM that stands still, of which others are forked (docs/adr/0012-forked-clones.md).

A fork has all that its template has: memory, devices, and the translations of what the template has carried out.
Both share what neither changes.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from socket import socket, socketpair

from hypercell.base.errors import VmFailed
from hypercell.base.finish import finish
from hypercell.vm.command_line import Descriptors
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.qmp import LIMIT, Streams
from hypercell.vm.slots import Slots

_VERSION = b"with forks and zygotes"
"""What hypervisor/Makefile has the program say of itself."""
_PATIENCE = 10.0
_AT_ONCE = 16
"""Forks that a template is told of together; it makes one after the other. Were there more than its socket takes, it
would seem to hang, and be ended."""


def can_fork(program: str, accelerator: str) -> bool:
    """Whether *program* has the command for it. What KVM knows of a process does not go with a fork."""
    if accelerator != "tcg":
        return False
    try:
        status = Path(program).stat()
    except OSError:
        return False
    return _says_so(program, status.st_ino, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _says_so(program: str, inode: int, changed: int) -> bool:
    command = [program, "--version"]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and _VERSION in done.stdout


class LivingTemplate:
    """Implements `driver.Template`. Owns its VM, which *end* ends."""

    def __init__(self, key: str, vm: QemuVm, size: int, end: Callable[[], None], boots: bool = False) -> None:
        """*boots*: it is a zygote, and what is forked of it boots, and shares no page with it."""
        self.key = key
        self._boots = boots
        self._vm: QemuVm | None = vm
        self._size = size
        self._end = end
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def bytes(self) -> int:
        return self._size if self._vm is not None else 0

    def check_groups(self, entered: int) -> None:
        """Raises `VmFailed` where a fork would enter fewer control groups than the template has: it would stay in one
        of the template's, and end with that."""
        if self._vm is not None and entered < self._vm.groups_there():
            raise VmFailed("the host refuses control groups that the template has", "hypervisor-failed")

    async def fork(self, name: str, user: int, descriptors: list[int]) -> tuple[int, Slots]:
        """A copy, which stands still: its process number, and what is in its slots. *descriptors* are those of
        `QemuVm.fork`. Raises `VmFailed`.

        Whoever is cancelled waits for it: what he undoes then is there to be found, by its user and name.
        """
        async with self._turns:
            if self._vm is None or self._vm.slots is None:
                raise VmFailed("the template was closed", "hypervisor-failed")
            slots = self._vm.slots.of_fork()
            return await finish(self._vm.fork(name, user, descriptors, self._boots)), slots

    def close(self) -> None:
        if self._vm is not None:
            self._vm = None
            self._end()


class ControlPair:
    """The daemon's ends of the control and console connections of a VM that is forked, and the VM's."""

    def __init__(self, undo: ExitStack, theirs: ExitStack) -> None:
        """*undo* closes ours, until `streams` has taken them; *theirs* the others. Raises `OSError`."""
        self._control, self._their_control = _pair(undo, theirs)
        self._console, self._their_console = _pair(undo, theirs)

    def given(self, output: int, inherited: Descriptors, entrances: list[int]) -> list[int]:
        """What the new VM is given, in the order of hypervisor/fork.c."""
        control = (self._their_control.fileno(), inherited.qmp)
        console = (self._their_console.fileno(), inherited.console)
        tap = () if inherited.tap is None else (inherited.tap,)
        return [output, *control, *console, inherited.agent, *tap, *entrances]

    async def streams(self) -> tuple[Streams, Streams]:
        """Control and console, which are the caller's from then on; all are closed when it fails."""
        with ExitStack() as undo:
            undo.callback(self._console.close)
            undo.callback(self._control.close)
            control = await asyncio.open_unix_connection(sock=self._control, limit=LIMIT)
            undo.callback(control[1].close)
            console = await asyncio.open_unix_connection(sock=self._console)
            undo.pop_all()
        return control, console


def _pair(undo: ExitStack, theirs: ExitStack) -> tuple[socket, socket]:
    ours, others = socketpair()
    undo.callback(ours.close)
    theirs.callback(others.close)
    ours.setblocking(False)
    return ours, others
