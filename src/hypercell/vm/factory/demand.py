# SPDX-License-Identifier: Apache-2.0
"""How many VMs of each shape to keep ready: as many as were wanted lately, half as many each `HALF_LIFE` later."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from hypercell.vm.driver import VmSpec

HALF_LIFE = 120.0
"""Seconds."""
FLOOR = 2
"""VMs of the usual shape that wait while anybody starts anything."""
FLOOR_LASTS = 3600.0
"""Seconds after the last start of any shape."""
_FORGOTTEN = 0.5


@dataclass(slots=True)
class _Shape:
    spec: VmSpec
    weight: float
    at: float


class Demand:
    """Counts starts by shape (a template's key). *usual* is the shape that most containers have."""

    def __init__(self, fill: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._fill = fill
        self._clock = clock
        self._shapes: dict[str, _Shape] = {}
        self._usual: tuple[str, VmSpec] | None = None
        self._last = -math.inf

    def expect(self, key: str, spec: VmSpec) -> None:
        """Make this the usual shape, as if one had just been started."""
        self._usual = (key, spec)
        self._last = self._clock()

    def started(self, key: str, spec: VmSpec) -> None:
        """Somebody started a VM of this shape."""
        now = self._last = self._clock()
        known = self._shapes.get(key)
        weight = self._weight(known, now) if known is not None else 0.0
        self._shapes[key] = _Shape(spec, weight + 1.0, now)

    def wanted(self) -> dict[str, tuple[VmSpec, int]]:
        """How many VMs of each shape would be good to have, the most wanted shape first."""
        now = self._clock()
        found: dict[str, tuple[VmSpec, int]] = {}
        for key, shape in sorted(self._shapes.items(), key=lambda item: -self._weight(item[1], now)):
            weight = self._weight(shape, now)
            if weight < _FORGOTTEN:
                del self._shapes[key]
            else:
                found[key] = (shape.spec, math.ceil(weight - _FORGOTTEN))
        if self._usual is not None:
            key, spec = self._usual
            least = max(self._fill, FLOOR if now - self._last < FLOOR_LASTS else 0)
            if least:
                found[key] = (spec, max(least, found[key][1] if key in found else 0))
        return found

    @staticmethod
    def _weight(shape: _Shape, now: float) -> float:
        return shape.weight * math.exp2((shape.at - now) / HALF_LIFE)
