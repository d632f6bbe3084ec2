# SPDX-License-Identifier: Apache-2.0
"""Counts and distributions, and the text in which Prometheus reads them.

The format is Prometheus' text exposition format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/.
Everything is counted in the event loop's thread, so nothing is locked; and a client library that locks each value and
brings a web server along would cost the daemon more than it counts.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[str, ...]
"""Values, in the order of the metric's label names."""


class Metric:
    """One name with its help text, and a value for each combination of labels."""

    kind = ""

    def __init__(self, name: str, help_text: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.help = help_text
        self.labels = tuple(labels)

    def samples(self) -> Iterator[str]:
        """Lines of the exposition."""
        raise NotImplementedError


class _Values(Metric):
    """Without labels it begins at 0; with them a value begins to exist when it is first told."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, help_text, labels)
        self.values: dict[Labels, float] = {} if labels else {(): 0}

    def set(self, value: float, *labels: str) -> Self:
        """For what is counted elsewhere, and looked up when somebody asks."""
        self.values[labels] = value
        return self

    def samples(self) -> Iterator[str]:
        for labels, value in self.values.items():
            yield sample(self.name, dict(zip(self.labels, labels, strict=True)), value)


class Counter(_Values):
    """Only ever grows."""

    kind = "counter"

    def count(self, *labels: str, by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + by


class Gauge(_Values):
    """What is so at the moment."""

    kind = "gauge"


class Histogram(Metric):
    """How many values were at most so large."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        super().__init__(name, help_text, labels)
        self._bounds = tuple(bounds)
        self._values: dict[Labels, list[float]] = {}
        """The count of each bucket (not cumulated), then of what exceeds all, then the sum."""

    def observe(self, value: float, *labels: str) -> None:
        known = self._values.get(labels)
        if known is None:
            known = self._values[labels] = [0] * (len(self._bounds) + 2)
        known[bisect_left(self._bounds, value)] += 1
        known[-1] += value

    def samples(self) -> Iterator[str]:
        for labels, known in self._values.items():
            named = dict(zip(self.labels, labels, strict=True))
            total = 0.0
            for bound, count in zip((*self._bounds, math.inf), known, strict=False):
                total += count
                yield sample(f"{self.name}_bucket", {**named, "le": _number(bound)}, total)
            yield sample(f"{self.name}_sum", named, known[-1])
            yield sample(f"{self.name}_count", named, total)


def exposition(metrics: Iterable[Metric]) -> bytes:
    """All of them, for a scrape."""
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {_escape(metric.help)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines.extend(metric.samples())
    return ("\n".join(lines) + "\n").encode()


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escape(text, quoted=True)}"' for label, text in labels.items())
    return f"{name}{{{told}}} {_number(value)}" if told else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _escape(text: str, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
