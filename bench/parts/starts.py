# SPDX-License-Identifier: Apache-2.0
"""Create + start + wait of `true` over the API, in milliseconds; runc for comparison is one command."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from bench.pacing import alternate
from bench.peers import EngineApi, Runc
from bench.peers.hypercell import COLD, DISTRIBUTION, OWN, POOL, TEMPLATE
from bench.session import Session
from bench.spread import spread

Sample = tuple[dict[str, float], str]
"""({part: milliseconds}, the way that the start took)."""


def measure(session: Session) -> dict[str, Any]:
    """{peer: {total, create, start, wait, remove: {min, median, p99, samples}, ways: {way: samples}}}"""
    own = [session.hypercell(way, kernel=kernel) for kernel in (OWN, DISTRIBUTION) for way in (POOL, TEMPLATE, COLD)]
    dockerd = session.dockerd()
    others = [dockerd, session.gvisor(dockerd), session.runc()]
    peers = [peer for peer in (*own, *others) if peer is not None]
    return {name: _summary(taken) for name, taken in alternate(peers, session.options.rounds, run_true).items()}


def run_true(peer: EngineApi | Runc) -> Sample:
    if isinstance(peer, Runc):
        return {"total": peer.run_true()}, ""
    began = time.perf_counter()
    identifier = peer.create("true")
    created = time.perf_counter()
    peer.engine.start(identifier)
    started = time.perf_counter()
    code = peer.engine.wait(identifier)
    ended = time.perf_counter()
    assert code == 0, f"`true` ended with {code} under {peer.name}"
    way = peer.way(identifier)
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
    return {part: value * 1000 for part, value in parts.items()}, way


def _summary(taken: list[Sample]) -> dict[str, Any]:
    times = {part: spread(sample[part] for sample, _ in taken) for part in taken[0][0]}
    return {**times, "ways": dict(Counter(way for _, way in taken if way))}
