# SPDX-License-Identifier: Apache-2.0
"""What is kept of a series of samples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable


def spread(values: Iterable[float]) -> dict[str, float]:
    """Minimum, median, p99 (nearest rank: the largest of fewer than a hundred) and the number of samples."""
    ordered = sorted(values)
    last = ordered[math.ceil(len(ordered) * 0.99) - 1]
    kept = {"min": ordered[0], "median": statistics.median(ordered), "p99": last}
    return {**{name: round(value, 2) for name, value in kept.items()}, "samples": len(ordered)}
