# SPDX-License-Identifier: Apache-2.0
"""Files of a terabyte that hold a megabyte."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from hypercell.base.sparse import extents


def copy_sparsely(source: Path, target: Path) -> Path:
    """A copy that takes what *source* holds: a slot makes a disk's file as long as itself, and a copy of that, byte by
    byte, fills the machine."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
    return target


def digest(path: Path) -> str:
    """Of what the file holds, and where; its holes are not read."""
    size = path.stat().st_size
    found = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start, end in extents(file.fileno(), size):
            found.update(b"%d-%d" % (start, end))
            for offset in range(start, end, 1 << 20):
                found.update(os.pread(file.fileno(), min(1 << 20, end - offset), offset))
    return found.hexdigest()
