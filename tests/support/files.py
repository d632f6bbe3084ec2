# SPDX-License-Identifier: Apache-2.0
"""Files of a terabyte that hold a megabyte."""

from __future__ import annotations

import subprocess
from pathlib import Path


def copy_sparsely(source: Path, target: Path) -> Path:
    """A copy that takes what *source* holds: a slot makes a disk's file as long as itself, and a copy of that, byte by
    byte, fills the machine."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
    return target
