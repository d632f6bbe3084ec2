# SPDX-License-Identifier: Apache-2.0
"""A saved VM: its memory and the state of its devices, sealed (docs/adr/0010-templates-and-pool.md)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from hypercell.base.errors import VmFailed
from hypercell.vm import memfd


def key_of(words: Iterable[str], files: Iterable[Path]) -> str:
    """A hash of *words* and of the identities of *files*: path, inode, size and time of the last change.

    Raises `VmFailed` for a file that is not there.
    """
    digest = hashlib.sha256()
    try:
        for path in files:
            status = path.stat()
            identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(repr((str(path), identity)).encode())
    except OSError as error:
        raise VmFailed(f"cannot look at {error.filename}: {error.strerror}", "hypervisor-failed") from error
    digest.update(repr(list(words)).encode())
    return digest.hexdigest()


class SavedTemplate:
    """Implements `driver.Template`. Owns the descriptors of two memfds, which it seals."""

    def __init__(self, key: str, memory: int, state: int) -> None:
        """Raises `OSError` when the hypervisor that wrote them still has the memory mapped."""
        self.key = key
        self._memory = memory
        self._state = state
        for descriptor in (memory, state):
            if not memfd.sealed(descriptor):
                memfd.seal(descriptor)

    @property
    def bytes(self) -> int:
        if self._memory < 0:
            return 0
        return memfd.allocated(self._memory) + memfd.allocated(self._state)

    def open(self) -> tuple[int, int]:
        """New descriptors of memory and state for one clone, good for reading. Raises `VmFailed` when it is closed."""
        if self._memory < 0:
            raise VmFailed("the template was closed", "hypervisor-failed")
        memory = memfd.reopen(self._memory)
        try:
            return memory, memfd.reopen(self._state)
        except BaseException:
            os.close(memory)
            raise

    def close(self) -> None:
        if self._memory >= 0:
            os.close(self._memory)
            os.close(self._state)
            self._memory = self._state = -1
