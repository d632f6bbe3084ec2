# SPDX-License-Identifier: Apache-2.0
"""`docker run --rm busybox true` by the docker CLI that is first on the PATH: milliseconds from outside."""

from __future__ import annotations

import functools
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.pacing import alternate
from bench.peers import EngineApi
from bench.peers.engine_api import IMAGE
from bench.peers.hypercell import POOL, TEMPLATE
from bench.session import Session
from bench.spread import spread


def measure(session: Session) -> dict[str, Any]:
    """{peer: {min, median, p99, samples}}"""
    dockerd = session.dockerd()
    peers = [session.hypercell(POOL), session.hypercell(TEMPLATE), dockerd, session.gvisor(dockerd)]
    with tempfile.TemporaryDirectory() as empty:
        taken = alternate(
            [peer for peer in peers if peer], session.options.rounds, functools.partial(_run, Path(empty))
        )
    return {name: spread(values) for name, values in taken.items()}


def _run(empty: Path, peer: EngineApi) -> float:
    return timed(peer.command_line(IMAGE, "true"), peer, empty)


def timed(command: list[str], peer: EngineApi, empty: Path) -> float:
    """Milliseconds that *command* takes from its start to its end."""
    environment = peer.environment(empty)
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000
