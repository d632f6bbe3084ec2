# SPDX-License-Identifier: Apache-2.0
"""How much memory this machine has, and how much of it is free."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
_LEAST_RESERVE = 256 * 1024**2


def available() -> int:
    """Bytes that could be used without pushing anything out (MemAvailable)."""
    return _field("MemAvailable")


def total() -> int:
    return _field("MemTotal")


def reserve() -> int:
    """Bytes that what is only kept ready must leave free: a sixteenth of the machine, 256 MiB at least."""
    return max(_LEAST_RESERVE, total() // 16)


def _field(name: str) -> int:
    for line in MEMINFO.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise OSError(f"{MEMINFO} has no {name}")
