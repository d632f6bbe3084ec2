# SPDX-License-Identifier: Apache-2.0
"""What processes cost, from /proc. Memory in MB (10^6 bytes), time in milliseconds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def pss(pids: Iterable[int]) -> float:
    """Proportional set size: a page that n processes share counts 1/n for each."""
    total = 0
    for pid in pids:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total / 1e6


def rss(pids: Iterable[int]) -> float:
    pages = sum(int((_PROC / str(pid) / "statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu(pids: Iterable[int]) -> float:
    """Time on a processor of all threads that live."""
    nanoseconds = 0
    for pid in pids:
        for thread in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e6


def lifetime_cpu(pids: Iterable[int]) -> float:
    """Time on a processor of all threads, ended ones too; in steps of a clock tick (10 ms)."""
    ticks = 0
    for pid in pids:
        words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        ticks += int(words[11]) + int(words[12])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def descriptors(pids: Iterable[int]) -> int:
    return sum(sum(1 for _ in (_PROC / str(pid) / "fd").iterdir()) for pid in pids)


def children(pid: int) -> list[int]:
    """Processes that any thread of *pid* started and that live; none of a process that is gone."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def parent(pid: int) -> int:
    return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def name(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return (_PROC / str(pid) / "comm").read_text().strip()
    return ""


def available_memory() -> float:
    """What the machine can still give out."""
    for line in (_PROC / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("the kernel tells no MemAvailable")
