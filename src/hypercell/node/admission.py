# SPDX-License-Identifier: Apache-2.0
"""Which launches may go on, by what the machine really bears.

A launch enters with what it costs. It goes on at once when there is memory for it (what the kernel says is available,
less what is kept free, less what launches under way have yet to touch) and, unless it is served from the pool, a CPU
to boot on. Otherwise it waits in line; it is refused when it can never fit, when the line is full, and when it has
waited too long. Nothing here takes a lock or a thread: the event loop runs one step at a time.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hypercell.base.config import Config
from hypercell.base.errors import HypercellError, Unavailable
from hypercell.base.sizes import MIB
from hypercell.node.line import Line
from hypercell.node.pressure import Gauge, Pressure
from hypercell.vm.factory import Way

_TICK = 0.1
"""Seconds between two looks at the machine while somebody waits."""
_CLEANUPS_PER_LAUNCH = 4
"""Clean-ups under way that cost the CPUs as much as one launch does."""
_STALLED = 0.1
"""From this share of time held up by the want of memory on, the machine has not got what it says is available."""
_CROWDED = 0.9
"""From this share of time waiting for a CPU on, and with twice as many threads of others as CPUs, boot fewer."""
_TYPICAL = 0.5
"""Seconds that a launch takes, until some have been seen."""
_RELIEF = 1.0
"""Seconds between two requests for memory."""
_NEVER = 3600
"""Seconds until a client may ask again for what cannot be had as the machine is."""
_LONGEST_ADVICE = 600


class Cost(Enum):
    """What a launch takes until its program runs: a CPU or none, and the memory that it touches (why so
    much: docs/admission.md)."""

    BOOT = (True, 128 * MIB)
    """A kernel boots."""
    CLONE = (True, 40 * MIB)
    """A template is cloned."""
    CLAIM = (False, 16 * MIB)
    """A VM of the pool is claimed."""

    def __init__(self, boots: bool, touches: int) -> None:
        self.boots = boots
        self.touches = touches


COSTS = {Way.COLD: Cost.BOOT, Way.TEMPLATE: Cost.CLONE, Way.POOL: Cost.CLAIM}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a user is told of a launch in line."""

    reason: str
    since_ns: int
    position: int
    """1: the next."""


class Place:
    """One launch at the gate: `turn`, then the launch, then `leave`, whatever came of it."""

    def __init__(self, gate: Admission, tenant: str, memory: int, cost: Cost) -> None:
        self._gate = gate
        self.tenant = tenant
        self.memory = memory
        """Bytes of the whole VM."""
        self.cost = cost
        self.since_ns = 0
        self.entered = time.monotonic()
        self.called: asyncio.Future[None] | None = None
        """Set while it waits."""
        self.bound: asyncio.TimerHandle | None = None
        """The end of its patience."""
        self.admitted = False

    @property
    def touches(self) -> int:
        """Bytes that it is going to touch until its program runs."""
        return min(self.memory, self.cost.touches)

    @property
    def waiting(self) -> Waiting | None:
        return self._gate.describe(self) if self.called is not None and not self.called.done() else None

    async def turn(self) -> None:
        """Return when the launch may go on. Raises `Unavailable`, or what `give_up` was given."""
        if self.called is not None:
            try:
                await self.called
            finally:
                self.called = None
                if not self.admitted:
                    self._gate.forget(self)

    def give_up(self, error: HypercellError) -> bool:
        """Leave the line, if it stands in it: `turn` raises *error*. True if it did."""
        if self.called is None or self.called.done():
            return False
        self._gate.forget(self)
        self.called.set_exception(error)
        return True

    def becomes(self, cost: Cost) -> None:
        """It turned out dearer, or cheaper, than it was thought when it entered."""
        self._gate.reckon(self, cost)

    def leave(self) -> None:
        """The launch has ended one way or another. Idempotent."""
        self._gate.release(self)


class Admission:
    """*cleanups*: how many VMs are being taken away. *relieve* is asked, every second at most, to give up so many bytes
    of memory that nobody waits for."""

    def __init__(
        self,
        config: Config,
        gauge: Gauge,
        cleanups: Callable[[], int] = lambda: 0,
        relieve: Callable[[int], object] = lambda wanted: None,
    ) -> None:
        self.reserve = config.reserve_memory
        self._patience = config.launch_wait
        self._longest = config.launch_queue
        self._at_once = config.launches_at_once or launches_for(os.cpu_count() or 1)
        self._gauge = gauge
        self.cleanups = cleanups
        self._relieve = relieve
        self._relieved = float("-inf")
        self._boots, self._claims = Line[Place](), Line[Place]()
        self._tick: asyncio.TimerHandle | None = None
        self._settling = 0
        """Bytes touched since the last reading by launches that have ended: not yet in what is measured."""
        self._settled = float("-inf")
        self.expected = 0
        """Bytes that the launches under way are going to touch."""
        self._typical = _TYPICAL
        self._closing = False
        self.booting = 0
        """Launches under way that need a CPU each."""
        self.claiming = 0
        self.waited = 0
        """How many launches had to wait so far."""
        self.refused: Counter[str] = Counter()
        """How many were refused so far: `size`, `queue`, `time`."""

    @property
    def queued(self) -> int:
        return len(self._boots) + len(self._claims)

    def pressure(self) -> Pressure:
        return self._gauge.read()

    def enter(self, tenant: str, memory: int, cost: Cost) -> Place:
        """A place for a launch of a VM of *memory* bytes. Raises `Unavailable` when it need not even wait."""
        if self._closing:
            raise Unavailable("the daemon is shutting down", "try again when it is back")
        place = Place(self, tenant, memory, cost)
        line = self._line(cost)
        self._refuse_too_big(place)
        if not line and self._obstacle(place) == "":
            self._admit(place)
            return place
        if self.queued >= self._longest:
            self.refused["queue"] += 1
            raise Unavailable(
                f"{self.queued} starts are waiting already", "try again later (setting launch_queue)", self.advice()
            )
        place.since_ns = time.time_ns()
        place.called = asyncio.get_running_loop().create_future()
        line.append(tenant, place)
        self.waited += 1
        place.bound = asyncio.get_running_loop().call_later(self._patience, self._give_up_late, place)
        self._advance()
        return place

    def close(self) -> None:
        """Send everybody who waits away, and let nobody in any more."""
        self._closing = True
        for place in (*self._boots.places(), *self._claims.places()):
            place.give_up(Unavailable("the daemon is shutting down", "try again when it is back"))
        if self._tick is not None:
            self._tick.cancel()
        self._gauge.close()

    def describe(self, place: Place) -> Waiting:
        line = self._line(place.cost)
        head = line.head()
        reason = self._obstacle(head) if head is not None else ""
        return Waiting(reason or "others were here before", place.since_ns, line.position(place.tenant, place))

    # The books

    def _line(self, cost: Cost) -> Line[Place]:
        return self._boots if cost.boots else self._claims

    def _admit(self, place: Place) -> None:
        if place.bound is not None:
            place.bound.cancel()
        place.admitted, place.entered = True, time.monotonic()
        self._count(place, 1)

    def _count(self, place: Place, sign: int) -> None:
        self.expected += sign * place.touches
        if place.cost.boots:
            self.booting += sign
        else:
            self.claiming += sign

    def reckon(self, place: Place, cost: Cost) -> None:
        if place.admitted:
            self._count(place, -1)
        place.cost = cost
        if place.admitted:
            self._count(place, 1)
            self._advance()

    def release(self, place: Place) -> None:
        if not place.admitted:
            return
        place.admitted = False
        self._count(place, -1)
        self._settling += place.touches
        if place.cost.boots:
            self._typical += 0.1 * (time.monotonic() - place.entered - self._typical)
        self._advance()

    def forget(self, place: Place) -> None:
        """It waits no more. Idempotent."""
        if place.bound is not None:
            place.bound.cancel()
        if self._line(place.cost).remove(place.tenant, place):
            self._advance()

    # The gate

    def _advance(self) -> None:
        """Let in whoever may."""
        for line in (self._claims, self._boots):
            while (head := line.head()) is not None and self._obstacle(head) == "":
                line.take()
                self._admit(head)
                if head.called is not None and not head.called.done():
                    head.called.set_result(None)
        if self.queued and self._tick is None and not self._closing:
            self._tick = asyncio.get_running_loop().call_later(_TICK, self._look)

    def _look(self) -> None:
        self._tick = None
        self._advance()

    def _obstacle(self, place: Place) -> str:
        """Why it cannot go on now; empty when it can."""
        if place.cost.boots and (why := self._no_cpu()):
            return why
        return self._no_memory(place)

    def _no_cpu(self) -> str:
        pressure, cleanups = self._gauge.read(), self.cleanups()
        most = self._at_once
        crowded = pressure.cpu > _CROWDED and pressure.runnable - self.booting > 2 * (os.cpu_count() or 1)
        if crowded:
            most = max(1, most // 2)
        most = max(1, most - cleanups // _CLEANUPS_PER_LAUNCH)
        if self.booting < most:
            return ""
        why = ", the machine is crowded" if crowded else ""
        why += f", {cleanups} clean-ups are under way" if most < self._at_once and cleanups else ""
        return f"CPU: {self.booting} of at most {most} launches are under way{why}"

    def _no_memory(self, place: Place) -> str:
        pressure = self._gauge.read()
        if self._settled != self._gauge.reading:
            self._settling, self._settled = 0, self._gauge.reading
        if pressure.memory > _STALLED and self.booting + self.claiming:
            return f"memory: the machine was held up by the want of it {pressure.memory:.0%} of the last second"
        expected = self.expected + self._settling
        if not place.cost.boots and (head := self._boots.head()) is not None and not self._no_cpu():
            expected += head.touches  # it waits for memory only: small ones must not take it from under its nose
        short = place.touches - (pressure.available - self.reserve - expected)
        if short <= 0:
            return ""
        if time.monotonic() - self._relieved > _RELIEF:
            self._relieved = time.monotonic()
            self._relieve(short)
        return (
            f"memory: {pressure.available // MIB} MiB are available, of which {self.reserve // MIB} MiB are kept free "
            f"and {expected // MIB} MiB expected by launches under way; it needs {place.touches // MIB} MiB"
        )

    # Refusals

    def _refuse_too_big(self, place: Place) -> None:
        if place.memory > (most := self._gauge.read().total - self.reserve):
            self.refused["size"] += 1
            raise Unavailable(
                f"a VM of {place.memory // MIB} MiB does not fit on this machine, which has {most // MIB} MiB for VMs",
                "choose a smaller one (--size, --memory)",
                _NEVER,
            )

    def _give_up_late(self, place: Place) -> None:
        waiting = place.waiting
        if waiting is None or place.admitted:
            return
        told = Unavailable(
            f"waited {self._patience:g} s for its turn to start ({waiting.reason})",
            "try again later, or stop other containers",
            self.advice(),
        )
        if place.give_up(told):
            self.refused["time"] += 1

    def advice(self) -> int:
        """Seconds after which those who wait now will have had their turn, as far as one can tell."""
        return min(_LONGEST_ADVICE, max(1, math.ceil(self.queued * self._typical / self._at_once)))


def launches_for(cpus: int) -> int:
    """How many VMs to boot at once: each keeps a CPU busy, and one more uses the gaps."""
    return cpus + 1
