# SPDX-License-Identifier: Apache-2.0
"""A clone is a stranger: what a guest says of itself after `configure` is checked before a tenant's byte runs in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from hypercell.base.errors import VmFailed

CLOCK = 2 * 10**9
"""Nanoseconds by which a guest's clock may be wrong."""
REMEMBERED = 8192
"""Boot ids, and random bytes, of the latest VMs."""


class Identities:
    """What the VMs of this daemon's life were told apart by. The guests of pods that it adopted count too."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._boot_ids: OrderedDict[str, str] = OrderedDict()
        """The VM (its pod) by boot id."""
        self._randoms: OrderedDict[bytes, None] = OrderedDict()

    def adopt(self, pod_id: str, boot_id: str) -> None:
        """A VM that an earlier daemon confirmed."""
        if boot_id:
            self._keep(self._boot_ids, boot_id, pod_id)

    def confirm(self, pod_id: str, hostname: str, reply: Mapping[str, Any], asked_ns: int, answered_ns: int) -> None:
        """Check the *reply* to a `configure` that was asked and answered at these times of the host's clock.

        Raises `VmFailed` for a guest that is not new, or is not what it was told to be.
        """
        boot_id, random = str(reply["boot_id"]), bytes.fromhex(str(reply["random"]))
        if not boot_id:
            raise _refused("it has no boot id")
        if boot_id in self._boot_ids:
            raise _refused("its boot id is that of another VM")
        if random in self._randoms or len(set(random)) <= 1:
            raise _refused("its random bytes came before")
        self._keep(self._boot_ids, boot_id, pod_id)
        self._keep(self._randoms, random, None)
        if not asked_ns - CLOCK <= int(reply["clock_ns"]) <= answered_ns + CLOCK:
            raise _refused("its clock is wrong")
        if reply["hostname"] != hostname:
            raise _refused("its host name is another one")

    def _keep(self, known: OrderedDict[Any, Any], key: object, value: object) -> None:
        known[key] = value
        while len(known) > self._remembered:
            known.popitem(last=False)


def _refused(why: str) -> VmFailed:
    return VmFailed(f"the VM is not what it should be: {why}", "boot-failed", "look at the daemon's log")
