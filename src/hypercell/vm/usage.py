# SPDX-License-Identifier: Apache-2.0
"""What a VM costs the host, from the host's own counters."""

from __future__ import annotations

import os
from pathlib import Path

from hypercell.vm import cgroups
from hypercell.vm.driver import HostUsage
from hypercell.vm.processes import stat_fields

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def measure(pid: int, groups: list[Path]) -> HostUsage:
    """Usage of the process *pid* (0 when it is gone) and of its control groups, which count on after its end."""
    counted = cgroups.usage(groups).cpu_ns
    fields = stat_fields(pid) if pid else None
    if fields is None:
        return HostUsage(counted or 0, 0, 0, 0)
    own = (int(fields[11]) + int(fields[12])) * _TICK_NS
    # The group misses what the process did before it was moved there; the process's own count is coarser.
    memory = _memory(pid)
    private = memory.get("Private_Clean", 0) + memory.get("Private_Dirty", 0)
    return HostUsage(max(counted or 0, own), int(fields[21]) * _PAGE, memory.get("Pss", 0), private)


def _memory(pid: int) -> dict[str, int]:
    """Bytes by name, from /proc/PID/smaps_rollup (proc(5)); none for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return {}
    lines = (line.split() for line in text.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
