# SPDX-License-Identifier: Apache-2.0
"""What the figures were measured on, and how busy it was."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.peers.hypercell import PROGRAMS

BUSY = 2.0
"""A load above which times are not to be trusted."""


def describe() -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "kvm": os.access("/dev/kvm", os.R_OK | os.W_OK),
        "kernel": platform.release(),
        "versions": {name: said for name, said in _versions().items() if said},
    }


def load() -> float:
    """The mean number of tasks that ran or wanted to, over the last minute."""
    return round(os.getloadavg()[0], 2)


def _versions() -> dict[str, str]:
    return {
        "hypercell": _output("git", "describe", "--always", "--dirty"),
        **{f"{name} QEMU": _output(path, "--version") for name, path in PROGRAMS.items()},
        **{name: _output(name, "--version") for name in ("runc", "runsc", "dockerd", "docker")},
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.splitlines()[0] if done.stdout else ""
