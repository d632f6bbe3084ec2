# SPDX-License-Identifier: Apache-2.0
"""Who counts on a VM of the pool without having taken it yet.

A launch is let through the gate by what its way costs. A hundred that come at once must not all be told of the same
twenty VMs.
"""

from __future__ import annotations

from collections import Counter

from hypercell.vm.factory.ways import Way


class Promise:
    """The way that a launch will go, as far as one can tell."""

    def __init__(self, way: Way, counted: Counter[str], key: str) -> None:
        self.way = way
        self._counted = counted
        self._key = key
        self._open = way is Way.POOL
        if self._open:
            counted[key] += 1

    def keep(self) -> None:
        """It has its VM, or wants none any more. Idempotent."""
        if self._open:
            self._open = False
            self._counted[self._key] -= 1
            if not self._counted[self._key]:
                del self._counted[self._key]
