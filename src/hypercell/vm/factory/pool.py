# SPDX-License-Identifier: Apache-2.0
"""The clones that wait: made, warmed, greeted, and nobody's yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hypercell.agent.contract import Agent
from hypercell.vm.driver import Vm
from hypercell.vm.factory.greeting import Listener

EXPECTED_COST = 48 * 1024**2
"""Bytes of host memory that a pooled VM is taken to cost before one was measured."""


@dataclass(frozen=True, slots=True)
class Pooled:
    vm: Vm
    agent: Agent
    listener: Listener
    tap: str
    """Its tap, which joins nothing."""
    key: str
    """Of its template: its shape."""
    cost: int
    """Bytes of host memory that nobody else shares."""

    @property
    def well(self) -> bool:
        return not self.agent.closed.is_set()


class Pool:
    """By shape, the oldest first. Taking one takes no time, so no two can take the same."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Pooled]] = {}
        self._typical = float(EXPECTED_COST)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def bytes(self) -> int:
        """Host memory of all."""
        return sum(pooled.cost for pooled in self)

    @property
    def typical_cost(self) -> int:
        """Bytes that the next one will cost, as far as one can tell."""
        return int(self._typical)

    def __iter__(self) -> Iterator[Pooled]:
        for waiting in self._waiting.values():
            yield from waiting

    def shapes(self) -> dict[str, int]:
        """How many wait, by shape."""
        return {key: len(waiting) for key, waiting in self._waiting.items()}

    def count(self, key: str) -> int:
        return len(self._waiting.get(key, ()))

    def add(self, pooled: Pooled) -> None:
        self._waiting.setdefault(pooled.key, []).append(pooled)
        self._typical += (pooled.cost - self._typical) / 4

    def take(self, key: str) -> Pooled | None:
        """The youngest of that shape: what it last touched is most likely still in some cache."""
        waiting = self._waiting.get(key)
        if not waiting:
            return None
        taken = waiting.pop()
        if not waiting:
            del self._waiting[key]
        return taken

    def take_oldest(self, key: str) -> Pooled:
        """To be given up."""
        waiting = self._waiting[key]
        taken = waiting.pop(0)
        if not waiting:
            del self._waiting[key]
        return taken

    def take_all(self, key: str | None = None) -> list[Pooled]:
        """Of one shape, or of every one."""
        if key is not None:
            return self._waiting.pop(key, [])
        taken = list(self)
        self._waiting.clear()
        return taken

    def take_dead(self) -> list[Pooled]:
        """Whose agents have hung up."""
        dead = [pooled for pooled in self if not pooled.well]
        for pooled in dead:
            self._waiting[pooled.key].remove(pooled)
            if not self._waiting[pooled.key]:
                del self._waiting[pooled.key]
        return dead
