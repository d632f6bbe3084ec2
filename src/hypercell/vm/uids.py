# SPDX-License-Identifier: Apache-2.0
"""One user id for each VM: hypervisors can neither signal, trace nor read the memory of each other."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from hypercell.base.errors import InvalidArgument, Unavailable

_NO_USER = 2**32 - 1
"""-1 as a user id: no user (credentials(7))."""


def in_use(uid: int) -> bool:
    """Whether any process of this machine has the real user id *uid*: one system call, no walk through /proc."""
    try:
        os.getpriority(os.PRIO_USER, uid - (uid >> 31 << 32))  # which takes a signed number
    except ProcessLookupError:
        return False
    return True


class UidPool:
    """Hands out ids of [base, base + count). Where it begins depends on *run*, so that daemons seldom meet; that an
    id is free is looked up all the same."""

    def __init__(self, base: int, count: int, run: Path) -> None:
        if base < 1 or count < 1 or base + count >= _NO_USER:
            raise InvalidArgument(f"there are no user ids {base} to {base + count - 1}", "see uid_base and uid_count")
        self._base = base
        self._count = count
        self._next = int.from_bytes(hashlib.sha256(bytes(run)).digest()[:4], "big") % count
        self._taken: set[int] = set()

    def hold(self, uid: int) -> None:
        """*uid* belongs to a VM that was found."""
        self._taken.add(uid)

    def take(self) -> int:
        """An id that no VM and no process has. Raises `Unavailable` when all are taken."""
        for step in range(self._count):
            uid = self._base + (self._next + step) % self._count
            if uid not in self._taken and not in_use(uid):
                self._next = (uid - self._base + 1) % self._count
                self._taken.add(uid)
                return uid
        raise Unavailable("every user id for virtual machines is in use", "raise uid_count in the settings")

    def release(self, uid: int) -> None:
        self._taken.discard(uid)
