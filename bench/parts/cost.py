# SPDX-License-Identifier: Apache-2.0
"""Milliseconds on a processor that an engine's own processes spend on one container, from create to remove."""

from __future__ import annotations

from typing import Any

from bench import processes
from bench.pacing import settle
from bench.parts.starts import run_true
from bench.peers import EngineApi
from bench.peers.hypercell import COLD, POOL, TEMPLATE
from bench.session import Session


def measure(session: Session) -> dict[str, Any]:
    """{peer: {cpu_per_start: ms, rss: MB afterwards}}"""
    peers = [session.hypercell(way) for way in (POOL, TEMPLATE, COLD)]
    return {peer.name: _cost(peer, max(20, session.options.rounds)) for peer in (*peers, session.dockerd()) if peer}


def _cost(peer: EngineApi, rounds: int) -> dict[str, float]:
    pids = peer.daemon_pids()
    peer.prepare()
    settle()
    before = sum(processes.lifetime_cpu([pid]) for pid in pids)
    for _ in range(rounds):
        run_true(peer)
    settle()
    spent = sum(processes.lifetime_cpu([pid]) for pid in pids) - before
    return {"cpu_per_start": round(spent / rounds, 1), "rss": round(processes.rss(pids), 1)}
