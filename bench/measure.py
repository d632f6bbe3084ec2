# SPDX-License-Identifier: Apache-2.0
"""The measurements themselves. Times in milliseconds, memory in MiB (PSS: shared pages are counted once)."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.peers import IMAGE, EngineApi, Runc


def start_times(peers: Sequence[EngineApi | Runc], rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Alternating starts of `true`: {peer: {part: {min, median, p99}}}. The first round warms up and is dropped."""
    samples: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        for peer in peers:
            sample = peer.run_true()
            if number:
                samples[peer.name].append(sample)
    return {name: {part: _spread([one[part] for one in taken]) for part in taken[0]} for name, taken in samples.items()}


def memory_of(peer: EngineApi, count: int) -> dict[str, float]:
    """PSS in MiB of what belongs to one of *count* containers that sleep, and of the daemon with them."""
    made = [peer.engine.create(IMAGE, "sleep", "1000") for _ in range(count)]
    try:
        for identifier in made:
            peer.engine.start(identifier)
        time.sleep(2)
        each = [sum(_pss(pid) for pid in peer.container_pids(identifier)) for identifier in made]
        daemon = sum(_pss(pid) for pid in peer.daemon_pids())
    finally:
        for identifier in made:
            peer.engine.remove(identifier)
    return {"containers": count, "each": round(statistics.median(each), 1), "daemon": round(daemon, 1)}


def daemon_cost(peer: EngineApi, rounds: int) -> dict[str, float]:
    """CPU milliseconds that the daemon's own processes spend on one create + start + wait + remove; RSS after it."""
    pids = peer.daemon_pids()
    before = sum(_cpu_ms(pid) for pid in pids)
    for _ in range(rounds):
        peer.run_true()
    spent = sum(_cpu_ms(pid) for pid in pids) - before
    return {"cpu_per_start": round(spent / rounds, 1), "rss": round(sum(_rss(pid) for pid in pids), 1)}


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"min": round(ordered[0], 1), "median": round(statistics.median(ordered), 1), "p99": round(last, 1)}


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _rss(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_ms(pid: int) -> float:
    words: list[Any] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * 1000 / os.sysconf("SC_CLK_TCK")
