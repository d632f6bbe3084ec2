# SPDX-License-Identifier: Apache-2.0
"""Containers come and go for minutes: whether the rate, the daemon's memory and its descriptors stay as they were."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from bench import processes
from bench.pacing import at_once, settle
from bench.peers.hypercell import POOL, Hypercell
from bench.session import Session

_CLIENTS = 2
_WINDOWS = 5
"""The second and the last of so many parts of the run are compared: the first has a full pool to begin with."""


def measure(session: Session) -> dict[str, Any]:
    """{peer: {minutes, containers, rate_start, rate_end (a second), rss_…: MB, descriptors_…, hypervisors_end}}"""
    peer = session.hypercell(POOL)
    return {peer.name: _churn(peer, session.options.minutes)} if peer else {}


def _churn(peer: Hypercell, minutes: float) -> dict[str, Any]:
    _run(peer, min(10.0, minutes * 60))
    before = _state(peer)
    ended = _run(peer, minutes * 60)
    after = _state(peer)
    window = minutes * 60 / _WINDOWS
    second = sum(1 for moment in ended if window <= moment < window * 2)
    last = sum(1 for moment in ended if window * (_WINDOWS - 1) <= moment < window * _WINDOWS)
    return {
        "minutes": minutes,
        "containers": len(ended),
        "rate_start": round(second / window, 2),
        "rate_end": round(last / window, 2),
        **{f"{name}_start": value for name, value in before.items()},
        **{f"{name}_end": value for name, value in after.items()},
    }


def _run(peer: Hypercell, seconds: float) -> list[float]:
    """Moments, in seconds since the start, at which a container had come, ended well and gone."""
    ended: list[float] = []
    began = time.monotonic()

    def client(_: int) -> None:
        with contextlib.closing(peer.engine.twin()) as engine:
            while time.monotonic() - began < seconds:
                identifier = peer.create("true", engine=engine)
                engine.start(identifier)
                code = engine.wait(identifier)
                assert code == 0, f"`true` ended with {code} under {peer.name}"
                engine.remove(identifier)
                ended.append(time.monotonic() - began)

    at_once(_CLIENTS, client)
    return ended


def _state(peer: Hypercell) -> dict[str, float]:
    peer.prepare()
    settle()
    pids = peer.daemon_pids()
    return {
        "rss": round(processes.rss(pids), 1),
        "descriptors": processes.descriptors(pids),
        "hypervisors": len(peer.hypervisors()),
        "available": round(processes.available_memory()),
    }
