# SPDX-License-Identifier: Apache-2.0
"""Create + start + wait of `true` over the API, in milliseconds; runc for comparison is one command."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.pacing import alternate
from bench.peers import EngineApi, Runc
from bench.peers.hypercell import COLD, DISTRIBUTION, EXECUTED, OWN, POOL, TEMPLATE
from bench.session import Session
from bench.spread import spread


@dataclass(frozen=True, slots=True)
class Sample:
    times: dict[str, float]
    """{part: milliseconds}"""
    way: str = ""
    """That the start took."""
    steps: dict[str, float] = field(default_factory=dict)
    """{step of the daemon's own trace: milliseconds}"""


def measure(session: Session) -> dict[str, Any]:
    """{peer: {total, create, start, wait, remove: {min, median, p99, samples}, ways: {way: samples},
    steps: {step of the start: median}}}"""
    ways = (POOL, TEMPLATE, COLD, EXECUTED)
    own = [session.hypercell(way, kernel=kernel) for kernel in (OWN, DISTRIBUTION) for way in ways]
    dockerd = session.dockerd()
    others = [dockerd, session.gvisor(dockerd), session.runc()]
    peers = [peer for peer in (*own, *others) if peer is not None]
    return {name: _summary(taken) for name, taken in alternate(peers, session.options.rounds, run_true).items()}


def run_true(peer: EngineApi | Runc) -> Sample:
    if isinstance(peer, Runc):
        return Sample({"total": peer.run_true()})
    began = time.perf_counter()
    identifier = peer.create("true")
    created = time.perf_counter()
    peer.engine.start(identifier)
    started = time.perf_counter()
    code = peer.engine.wait(identifier)
    ended = time.perf_counter()
    assert code == 0, f"`true` ended with {code} under {peer.name}"
    trace = peer.trace(identifier)
    removing = time.perf_counter()
    peer.engine.remove(identifier)
    removed = time.perf_counter()
    parts = {
        "total": ended - began,
        "create": created - began,
        "start": started - created,
        "wait": ended - started,
        "remove": removed - removing,
    }
    steps = {str(step["Name"]): float(step["Took"]) for step in trace.get("Steps", ())}
    return Sample({part: value * 1000 for part, value in parts.items()}, str(trace.get("Way", "")), steps)


def _summary(taken: list[Sample]) -> dict[str, Any]:
    times = {part: spread(sample.times[part] for sample in taken) for part in taken[0].times}
    names = list(dict.fromkeys(name for sample in taken for name in sample.steps))
    steps = {name: round(median(s.steps[name] for s in taken if name in s.steps), 2) for name in names}
    return {**times, "ways": dict(Counter(sample.way for sample in taken if sample.way)), "steps": steps}
