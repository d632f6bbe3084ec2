# SPDX-License-Identifier: Apache-2.0
"""Which ranges of addresses the machine has a way to already."""

from __future__ import annotations

import contextlib
import ipaddress
from pathlib import Path


def routes(table: Path = Path("/proc/net/route")) -> list[tuple[str, ipaddress.IPv4Network]]:
    """(interface, destination) of the machine's IPv4 routes; /proc/net/route, addresses little-endian hex."""
    found = []
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            words = line.split()
            packed = [int(words[column], 16).to_bytes(4, "little") for column in (1, 7)]
            prefix = int.from_bytes(packed[1], "big").bit_count()
            found.append((words[0], ipaddress.IPv4Network((packed[0], prefix), strict=False)))
    return found
