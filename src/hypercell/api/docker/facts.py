# SPDX-License-Identifier: Apache-2.0
"""What `version` and `info` tell of this machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def go_architecture() -> str:
    """This machine's architecture as Go and the image spec call it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def operating_system() -> str:
    """`PRETTY_NAME` of os-release."""
    try:
        lines = Path("/etc/os-release").read_text(errors="replace").splitlines()
    except OSError:
        return "Linux"
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return values.get("PRETTY_NAME", "Linux").strip('"')


@dataclass(frozen=True, slots=True)
class Facts:
    """Gathered once at start; `hypervisor` is asked each time (name -> value, for `docker info`)."""

    machine_id: str = ""
    started_ns: int = field(default_factory=time.time_ns)
    hypervisor: Callable[[], Mapping[str, str]] = dict
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory: int = field(default_factory=lambda: os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    kernel: str = field(default_factory=platform.release)
    machine: str = field(default_factory=platform.machine)
    architecture: str = field(default_factory=go_architecture)
    system: str = field(default_factory=operating_system)
    name: str = field(default_factory=platform.node)
