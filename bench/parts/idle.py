# SPDX-License-Identifier: Apache-2.0
"""What a container costs that sleeps, among others alike, and a clone that waits: memory, and time on a processor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from bench import processes
from bench.pacing import settle
from bench.peers import EngineApi
from bench.peers.hypercell import DEBIAN, POOL, SLIM, TEMPLATE, Hypercell
from bench.session import Session

_START_IS_OVER = 10.0
"""Seconds: what a start leaves to be done later, such as writing back and giving back, is done."""


def measure(session: Session) -> dict[str, Any]:
    """{sleeping, unclaimed: {peer: {among, each: MB (PSS), cpu: % of a core each, daemon: MB (PSS)}}}"""
    count = session.options.idle
    sleeping: dict[str, Any] = {}
    unclaimed: dict[str, Any] = {}
    for qemu in (SLIM, DEBIAN):
        if peer := session.hypercell(TEMPLATE, qemu=qemu):
            sleeping[peer.name] = _sleeping(session, peer, count)
            peer.leave()
        if pool := session.hypercell(POOL, qemu=qemu, fill=count):
            unclaimed[pool.name] = _waiting(session, pool)
            pool.leave()
    if dockerd := session.dockerd():
        sleeping[dockerd.name] = _sleeping(session, dockerd, count)
        dockerd.remove_all()
        if gvisor := session.gvisor(dockerd):
            sleeping[gvisor.name] = _sleeping(session, gvisor, count)
    return {"sleeping": sleeping, "unclaimed": unclaimed}


def _sleeping(session: Session, peer: EngineApi, count: int) -> dict[str, Any]:
    made = [peer.sleeper() for _ in range(count)]
    each = [peer.container_pids(identifier) for identifier in made]
    return _weigh(session, peer, each, peer.templates() if isinstance(peer, Hypercell) else [])


def _waiting(session: Session, pool: Hypercell) -> dict[str, Any]:
    pool.prepare()
    return _weigh(session, pool, [[pid] for pid in pool.spares()], pool.templates())


def _weigh(session: Session, peer: EngineApi, each: Sequence[list[int]], common: list[int]) -> dict[str, float]:
    """Median memory and mean processor time of these groups of processes, and their share of what all have in
    *common*."""
    time.sleep(_START_IS_OVER)
    settle()
    before, began = sum(map(processes.cpu, each)), time.monotonic()
    time.sleep(session.options.idle_seconds)
    spent, took = sum(map(processes.cpu, each)) - before, time.monotonic() - began
    return {
        "among": len(each),
        "each": round(statistics.median(map(processes.pss, each)) + processes.pss(common) / len(each), 1),
        "cpu": round(spent / 10 / took / len(each), 3),
        "daemon": round(processes.pss(peer.daemon_pids()), 1),
    }
