# SPDX-License-Identifier: Apache-2.0
"""Containers that are requested at once: seconds until all are running. Each has a client of its own."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import Any

from bench.pacing import at_once, settle
from bench.peers import EngineApi
from bench.peers.hypercell import POOL, TEMPLATE
from bench.session import Session
from bench.spread import spread


def measure(session: Session) -> dict[str, Any]:
    """{number: {peer: {all: seconds, each: {min, median, p99, samples} in seconds, ways: {way: containers}}}}"""
    most = max(session.options.burst)
    peers = [session.hypercell(POOL, fill=most), session.hypercell(TEMPLATE), session.dockerd()]
    return {str(count): {peer.name: _burst(peer, count) for peer in peers if peer} for count in session.options.burst}


def _burst(peer: EngineApi, count: int) -> dict[str, Any]:
    peer.prepare()
    settle()
    made = [""] * count
    times = [0.0] * count
    clients = [peer.engine.twin() for _ in range(count)]
    began = 0.0

    def launch(number: int) -> None:
        made[number] = peer.sleeper(clients[number])
        times[number] = time.perf_counter() - began

    try:
        began = time.perf_counter()
        took = at_once(count, launch)
        states = {item["Id"]: item["State"] for item in peer.engine.list()}
        running = sum(states.get(identifier) == "running" for identifier in made)
        assert running == count, f"{running} of {count} are running under {peer.name}"
        ways = Counter(peer.way(identifier) for identifier in made)
    finally:
        for client in clients:
            client.close()
        with contextlib.suppress(OSError):
            peer.remove_all()
    return {"all": round(took, 3), "each": spread(times), "ways": {way: n for way, n in ways.items() if way}}
