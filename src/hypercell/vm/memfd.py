# SPDX-License-Identifier: Apache-2.0
"""Memory as a file without a name (memfd_create(2)), which can be sealed against every change."""

from __future__ import annotations

import fcntl
import os

_F_ADD_SEALS = 1033
_F_GET_SEALS = 1034
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8
"""F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE."""


def create(name: str, size: int = 0) -> int:
    """A descriptor of a new one of *size* bytes. *name* is for a person who looks at /proc. Raises `OSError`."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def seal(descriptor: int) -> None:
    """From now on nobody changes it: no write, no hole, no other size, no other seal. What is mapped privately may be
    written, for that is a copy. Raises `OSError` (EBUSY) while somebody could write through a shared mapping."""
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _ALL_SEALS)


def sealed(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, _F_GET_SEALS) == _ALL_SEALS


def reopen(descriptor: int) -> int:
    """A descriptor of the same memory for reading, with a position of its own. Raises `OSError`."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def allocated(descriptor: int) -> int:
    """Bytes of memory that it holds; holes hold none."""
    return os.fstat(descriptor).st_blocks * 512
