# SPDX-License-Identifier: Apache-2.0
"""How much a guest may say unasked."""

from __future__ import annotations


class Budget:
    """A token bucket: *burst* at once, *rate* a second for ever; time in seconds, by the clock of the caller."""

    __slots__ = ("_burst", "_left", "_rate", "_then")

    def __init__(self, burst: int, rate: float, now: float) -> None:
        self._burst = self._left = float(burst)
        self._rate = rate
        self._then = now

    def take(self, now: float) -> bool:
        """False when nothing is left."""
        self._left = min(self._burst, self._left + (now - self._then) * self._rate)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
