# SPDX-License-Identifier: Apache-2.0
"""A template that is a process: a VM that stands still, of which others are forked (docs/adr/0012-forked-clones.md).

A fork has all that its template has: memory, devices, and the translations of what the template has carried out.
Both share what neither changes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from hypercell.base.errors import VmFailed
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.slots import Slots
from hypercell.vm.spawn import LAUNCHER

_VERSION = b"with forks"
"""What hypervisor/Makefile has the program say of itself."""
_PATIENCE = 10.0


def can_fork(program: str, accelerator: str) -> bool:
    """Whether *program* has the command for it. What KVM knows of a process does not go with a fork."""
    if accelerator != "tcg" or not LAUNCHER.exists():
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

    def __init__(self, key: str, vm: QemuVm, size: int, end: Callable[[], None]) -> None:
        self.key = key
        self._vm: QemuVm | None = vm
        self._size = size
        self._end = end

    @property
    def bytes(self) -> int:
        return self._size if self._vm is not None else 0

    async def fork(self, name: str, user: int, descriptors: list[int]) -> tuple[int, Slots]:
        """A copy, which stands still: its process number, and what is in its slots. *descriptors* are those of
        `QemuVm.fork`. Raises `VmFailed`."""
        if self._vm is None or self._vm.slots is None:
            raise VmFailed("the template was closed", "hypervisor-failed")
        return await self._vm.fork(name, user, descriptors), self._vm.slots.of_fork()

    def close(self) -> None:
        if self._vm is not None:
            self._vm = None
            self._end()
