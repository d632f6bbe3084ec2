# SPDX-License-Identifier: Apache-2.0
"""Many containers at once: whether all answer, what the daemon holds, what the machine gave for them."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from bench import processes
from bench.pacing import at_once
from bench.peers.hypercell import TEMPLATE
from bench.session import Session

_CLIENTS = 8


def measure(session: Session) -> dict[str, Any]:
    """{peer: {containers, silent, seconds, daemon_rss: MB, each: MB (of MemAvailable), ways}}"""
    peer = session.hypercell(TEMPLATE)
    if peer is None:
        return {}
    count = session.options.many
    made = [""] * count
    answers = [False] * count
    before = processes.available_memory()

    def launch(number: int) -> None:
        with contextlib.closing(peer.engine.twin()) as engine:
            made[number] = peer.sleeper(engine)

    def ask(number: int) -> None:
        with contextlib.closing(peer.engine.twin()) as engine:
            answers[number] = engine.execute(made[number], "true") == 0

    took = at_once(count, launch, limit=_CLIENTS)
    each = (before - processes.available_memory()) / count
    at_once(count, ask, limit=_CLIENTS)
    ways = Counter(peer.way(identifier) for identifier in made)
    return {
        peer.name: {
            "containers": count,
            "silent": answers.count(False),
            "seconds": round(took, 1),
            "daemon_rss": round(processes.rss(peer.daemon_pids()), 1),
            "each": round(each, 1),
            "ways": {way: number for way, number in ways.items() if way},
        }
    }
