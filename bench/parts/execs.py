# SPDX-License-Identifier: Apache-2.0
"""`exec` of `true` in a container that runs, in ms: over the API (create, start, exit code) and by the docker CLI."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.pacing import alternate
from bench.parts.docker_run import timed
from bench.peers import EngineApi
from bench.peers.hypercell import TEMPLATE
from bench.session import Session
from bench.spread import spread


def measure(session: Session) -> dict[str, Any]:
    """{api, cli: {peer: {min, median, p99, samples}}}"""
    dockerd = session.dockerd()
    found = [session.hypercell(TEMPLATE), dockerd, session.gvisor(dockerd)]
    peers = [peer for peer in found if peer]
    running = {peer.name: peer.sleeper() for peer in peers}

    def over_api(peer: EngineApi) -> float:
        began = time.perf_counter()
        code = peer.engine.execute(running[peer.name], "true")
        took = (time.perf_counter() - began) * 1000
        assert code == 0, f"`true` ended with {code} under {peer.name}"
        return took

    with tempfile.TemporaryDirectory() as empty:

        def by_cli(peer: EngineApi) -> float:
            return timed(["docker", "exec", running[peer.name], "true"], peer, Path(empty))

        rounds = session.options.rounds
        return {
            "api": {name: spread(values) for name, values in alternate(peers, rounds, over_api).items()},
            "cli": {name: spread(values) for name, values in alternate(peers, rounds, by_cli).items()},
        }
