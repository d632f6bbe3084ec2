# SPDX-License-Identifier: Apache-2.0
"""Files of a terabyte that hold a megabyte."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from pathlib import Path


def copy_sparsely(source: Path, target: Path) -> Path:
    """A copy that takes what *source* holds: a slot makes a disk's file as long as itself, and a copy of that, byte by
    byte, fills the machine."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
    return target


def digest(path: Path) -> str:
    """Of what the file holds, and where; its holes are not read."""
    found = hashlib.sha256(str(path.stat().st_size).encode())
    with path.open("rb") as file:
        at = 0
        while True:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return found.hexdigest()
                raise
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.update(b"%d-%d" % (start, at))
            for offset in range(start, at, 1 << 20):
                found.update(os.pread(file.fileno(), min(1 << 20, at - offset), offset))
