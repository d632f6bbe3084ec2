# SPDX-License-Identifier: Apache-2.0
"""Programs of ours that run in guests."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path


def in_base64(source: Path, directory: Path) -> str:
    """The program of the C *source*, which needs no library; built in *directory*."""
    program = directory / source.stem
    options = ["-static", "-Os", "-s", "-pthread", "-Wall", "-Werror", "-idirafter", "/usr/include"]
    architecture = ["-idirafter", f"/usr/include/{_triplet()}"]
    subprocess.run(["musl-gcc", *options, *architecture, "-o", str(program), str(source)], check=True)
    return base64.b64encode(program.read_bytes()).decode()


def _triplet() -> str:
    return subprocess.run(["gcc", "-print-multiarch"], check=True, capture_output=True, text=True).stdout.strip()
