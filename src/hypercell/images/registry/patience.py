# SPDX-License-Identifier: Apache-2.0
"""When to try again, how long to wait before, and when to give up."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from hypercell.base.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a client is. Times in seconds."""

    connect: float = 15.0
    stall: float = 30.0
    """Without a byte for this long, a registry counts as stalled."""
    answer: float = 60.0
    """From a request to the end of its headers, or of a small document."""
    attempts: int = 5
    """Failures in a row, without a byte gained, after which a request is given up."""
    backoff: float = 0.5
    """Before the second attempt; doubled for each further one."""
    parallel: int = 3
    """Blobs of one pull that are downloaded at the same time."""
    slowest: int = 1024
    """Bytes per second that a transfer must average once it is older than `answer`."""
    settle: float = 300.0
    """From the end of an upload to the answer: a registry may copy all of it once more before it says a word."""
    abandon: float = 5.0
    """For telling a registry that an upload will not be finished."""

    def upload(self, size: int) -> float:
        """The longest that *size* bytes may be on their way, until they are answered."""
        return self.answer + size / self.slowest + self.settle


class Transient(Unavailable):
    """A failure that may be gone the next time. `cost` counts it in broken connections."""

    cost = 1


class Stalled(Transient):
    """The peer is there, but silent. Each time has cost the user half a minute already."""

    cost = 3

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__(
            f"the registry {host} stalled: nothing came for {seconds:g} seconds", "try again, or ask its operator"
        )


class Patience:
    """Failures of one request. Call `failed` for each; it waits, or raises the failure when enough is enough."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._spent = 0

    def rewarded(self) -> None:
        """Something was gained since the last failure."""
        self._spent = 0

    async def failed(self, failure: Transient) -> None:
        self._spent += failure.cost
        if self._spent >= self._limits.attempts:
            raise failure
        await asyncio.sleep(self._limits.backoff * 2 ** (self._spent - 1) * random.uniform(0.75, 1.25))
