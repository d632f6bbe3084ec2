# SPDX-License-Identifier: Apache-2.0
"""The marks: what was promised, where the result has it, and whether it was met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.peers import Dockerd, hypercell
from bench.peers.hypercell import DEBIAN, DISTRIBUTION, SLIM, called

Parts = dict[str, Any]
Figure = Callable[[Parts], float]

POOL, TEMPLATE = called(hypercell.POOL), called(hypercell.TEMPLATE)
TEMPLATE_DISTRIBUTION = called(hypercell.TEMPLATE, DISTRIBUTION)
COLD, COLD_DISTRIBUTION = called(hypercell.COLD), called(hypercell.COLD, DISTRIBUTION)
DOCKERD = Dockerd.name


@dataclass(frozen=True, slots=True)
class Mark:
    number: str
    """Of the list in the project's plan; 0 for what was promised before there were clones."""
    text: str
    limit: float
    unit: str
    value: Figure
    """From the result. Raises `LookupError` where it was not measured."""
    scope: Callable[[Parts], str] = lambda parts: ""
    """What the measurement was smaller than the promise in; empty: in nothing."""

    def judge(self, parts: Parts) -> dict[str, Any]:
        told = {"number": self.number, "text": self.text, "limit": self.limit, "unit": self.unit}
        try:
            value = round(self.value(parts), 3)
            return {**told, "value": value, "met": value <= self.limit, "scope": self.scope(parts)}
        except (LookupError, ZeroDivisionError):
            return {**told, "value": None, "met": None, "scope": ""}


def judge(parts: Parts) -> list[dict[str, Any]]:
    return [mark.judge(parts) for mark in MARKS]


def _at(*path: str) -> Figure:
    """The figure at that place of the result."""

    def value(parts: Parts) -> float:
        here: Any = parts
        for name in path:
            here = here[name]
        return float(here)

    return value


def _ratio(one: Figure, other: Figure) -> Figure:
    return lambda parts: one(parts) / other(parts)


def _difference(one: Figure, other: Figure) -> Figure:
    return lambda parts: one(parts) - other(parts)


def _start(peer: str, figure: str = "median") -> Figure:
    return _at("starts", peer, "total", figure)


def _idle(kind: str, qemu: str, figure: str = "each") -> Figure:
    way = {"sleeping": hypercell.TEMPLATE, "unclaimed": hypercell.POOL}[kind]
    return _at("idle", kind, called(way, qemu=qemu), figure)


def _churn(figure: str) -> Figure:
    return _at("churn", POOL, figure)


def _scope(measured: Figure, promised: float, unit: str) -> Callable[[Parts], str]:
    def scope(parts: Parts) -> str:
        number = measured(parts)
        return f"{number:g} {unit}, not {promised:g}" if number < promised else ""

    return scope


def _twenty(kind: str, qemu: str) -> Callable[[Parts], str]:
    return _scope(_idle(kind, qemu, "among"), 20, "alike")


_MINUTES = _scope(_churn("minutes"), 20, "minutes")
_VMS = _scope(_at("many", TEMPLATE, "containers"), 300, "VMs")
_RECORDS = _scope(_at("records", "most", "containers"), 5000, "containers")

MARKS = (
    Mark("0", "create + start + wait of `true`, with a boot, own kernel: median", 400, "ms", _start(COLD)),
    Mark("0", "the same, the distribution's kernel", 2200, "ms", _start(COLD_DISTRIBUTION)),
    Mark("1", "create + start + wait of `true`, pool, own kernel: median", 40, "ms", _start(POOL)),
    Mark("1", "the same, template", 150, "ms", _start(TEMPLATE)),
    Mark("1", "the same, template, the distribution's kernel", 220, "ms", _start(TEMPLATE_DISTRIBUTION)),
    Mark("1", "p99 / median, pool", 2, "×", _ratio(_start(POOL, "p99"), _start(POOL))),
    Mark("1", "p99 / median, template", 2, "×", _ratio(_start(TEMPLATE, "p99"), _start(TEMPLATE))),
    Mark("1", "median / dockerd's, pool", 0.25, "×", _ratio(_start(POOL), _start(DOCKERD))),
    Mark("1", "median / dockerd's, template", 0.75, "×", _ratio(_start(TEMPLATE), _start(DOCKERD))),
    *(
        Mark(
            "1",
            f"`docker run --rm busybox true` / dockerd's, {word}",
            limit,
            "×",
            _ratio(_at("run", peer, "median"), _at("run", DOCKERD, "median")),
        )
        for word, peer, limit in (("pool", POOL, 0.45), ("template", TEMPLATE, 0.9))
    ),
    Mark("2", "`exec` of `true` over the API: median", 15, "ms", _at("exec", "api", TEMPLATE, "median")),
    Mark(
        "2",
        "`docker exec` of `true` / dockerd's",
        0.6,
        "×",
        _ratio(_at("exec", "cli", TEMPLATE, "median"), _at("exec", "cli", DOCKERD, "median")),
    ),
    Mark("3", "100 containers at once, a filled pool: all running", 3, "s", _at("burst", "100", POOL, "all")),
    Mark("3", "the same, no pool", 8, "s", _at("burst", "100", TEMPLATE, "all")),
    Mark(
        "3",
        "churn: rate at the start / at the end",
        1.1,
        "×",
        _ratio(_churn("rate_start"), _churn("rate_end")),
        _MINUTES,
    ),
    Mark(
        "3",
        "churn: daemon's memory at the end / at the start",
        1.1,
        "×",
        _ratio(_churn("rss_end"), _churn("rss_start")),
        _MINUTES,
    ),
    Mark(
        "3",
        "churn: descriptors more at the end",
        4,
        "",
        _difference(_churn("descriptors_end"), _churn("descriptors_start")),
        _MINUTES,
    ),
    *(
        Mark("4", f"{text}, {word} QEMU (PSS)", limit, "MB", _idle(kind, qemu), _twenty(kind, qemu))
        for kind, text, limits in (
            ("sleeping", "a container that sleeps", (26, 18)),
            ("unclaimed", "an unclaimed clone", (17, 10)),
        )
        for qemu, word, limit in zip((DEBIAN, SLIM), ("Debian's", "the slim"), limits, strict=True)
    ),
    *(
        Mark(
            "4",
            f"processor time of {text}, the slim QEMU",
            0.2,
            "% of a core",
            _idle(kind, SLIM, "cpu"),
            _twenty(kind, SLIM),
        )
        for kind, text in (("sleeping", "a container that sleeps"), ("unclaimed", "an unclaimed clone"))
    ),
    Mark("4", "300 containers at once: those that do not answer", 0, "", _at("many", TEMPLATE, "silent"), _VMS),
    *(
        Mark("5", f"the daemon's processor time for a start, {word}", 10, "ms", _at("cost", peer, "cpu_per_start"))
        for word, peer in (("pool", POOL), ("template", TEMPLATE))
    ),
    Mark("5", "the daemon's memory (RSS) with 300 VMs", 90, "MB", _at("many", TEMPLATE, "daemon_rss"), _VMS),
    Mark("5", "fake driver, 5,000 containers: list, p99", 150, "ms", _at("records", "most", "list", "p99"), _RECORDS),
    *(
        Mark(
            "5",
            f"the same: {figure} / {figure} among 50",
            1.2,
            "×",
            _ratio(_at("records", "most", figure, "median"), _at("records", "few", figure, "median")),
            _RECORDS,
        )
        for figure in ("start", "stop")
    ),
)
