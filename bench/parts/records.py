# SPDX-License-Identifier: Apache-2.0
"""Thousands of containers without VMs: what the daemon's own records cost. Milliseconds."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import Any

from bench.engine import Engine
from bench.pacing import at_once, settle
from bench.peers.engine_api import IMAGE
from bench.peers.hypercell import COLD, Hypercell
from bench.session import Session
from bench.spread import spread

_FEW = 50
_CLIENTS = 4
_LISTS = 100
_SAMPLES = 40


class Fake(Hypercell):
    """The guests answer from inside the daemon. No network: a bridge takes a thousand ports at most."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.directory, COLD, driver="fake")
        self.name = "hypercell, fake driver"
        self.host = {"NetworkMode": "none"}

    def __exit__(self, *_: object) -> None:
        """Its containers are in the daemon's memory alone, and its bridge in the run's network namespace."""
        self.engine.close()
        self.daemon.kill()
        shutil.rmtree(self.daemon.directory, ignore_errors=True)


def measure(session: Session) -> dict[str, Any]:
    """{few, most: {containers, list, start, stop: {min, median, p99, samples}}}"""
    peer = session.join(Fake(session))
    if peer is None:
        return {}
    found: dict[str, Any] = {}
    present = 0
    for name, count in (("few", _FEW), ("most", max(_FEW, session.options.records))):
        _grow(peer, count - present)
        present = count
        settle()
        found[name] = {"containers": count, **_figures(peer)}
    return found


def _grow(peer: Fake, count: int) -> None:
    def launch(_: int) -> None:
        with contextlib.closing(peer.engine.twin()) as engine:
            peer.sleeper(engine)

    if count:
        at_once(count, launch, limit=_CLIENTS)


def _figures(peer: Fake) -> dict[str, Any]:
    starts, stops = [], []
    for _ in range(_SAMPLES):
        identifier = peer.engine.create(IMAGE, "sleep", "1000", **peer.host)
        starts.append(_timed(peer.engine, "POST", f"/containers/{identifier}/start"))
        stops.append(_timed(peer.engine, "POST", f"/containers/{identifier}/stop?t=0"))
        peer.engine.remove(identifier)
    lists = [_timed(peer.engine, "GET", "/containers/json?all=1") for _ in range(_LISTS)]
    return {"list": spread(lists), "start": spread(starts), "stop": spread(stops)}


def _timed(engine: Engine, method: str, path: str) -> float:
    began = time.perf_counter()
    engine.call(method, path)
    return (time.perf_counter() - began) * 1000
