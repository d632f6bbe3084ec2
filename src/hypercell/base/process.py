# SPDX-License-Identifier: Apache-2.0
"""What this process itself costs, under the names that every Prometheus client library uses."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from hypercell.base.metrics import Counter, Gauge, Metric

_STAT = Path("/proc/self/stat")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def metrics() -> list[Metric]:
    # The name in parentheses may hold anything; fields are numbered from the one after it (proc(5): 3, state).
    fields = _STAT.read_text().rpartition(")")[2].split()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / _TICKS
    cpu = time.process_time()
    return [
        Counter("process_cpu_seconds_total", "CPU time of the daemon, user and system.").set(cpu),
        Gauge("process_resident_memory_bytes", "Memory of the daemon.").set(int(fields[21]) * _PAGE),
        Gauge("process_open_fds", "Descriptors that the daemon holds.").set(_open_descriptors()),
        Gauge("process_max_fds", "Descriptors that it may hold.").set(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        Gauge("process_threads", "Threads of the daemon.").set(int(fields[17])),
        Gauge("process_start_time_seconds", "When the daemon started, as a Unix time.").set(time.time() - age),
    ]


def _open_descriptors() -> int:
    with os.scandir("/proc/self/fd") as entries:
        return sum(1 for _ in entries) - 1
