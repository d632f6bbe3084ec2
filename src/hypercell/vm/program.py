# SPDX-License-Identifier: Apache-2.0
"""Which QEMU runs the VMs: the slim one where it was built (docs/adr/0011-slim-qemu.md), else the distribution's."""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from hypercell.base.config import built
from hypercell.base.errors import VmFailed

AUTO = "auto"
DISTRIBUTION = "qemu-system-x86_64"
SLIM = built("qemu") / "bin" / DISTRIBUTION
LASTS = 1.0
"""Seconds for which a choice is good: making it looks at a dozen files, and a start asks several times."""
_chosen: dict[str, tuple[Program, float]] = {}
"""By setting: the choice, and until when it is good."""


@dataclass(frozen=True, slots=True)
class Program:
    path: str
    """Absolute."""
    reason: str
    """Why this one, for a person: a few words for `info` and `doctor`."""


def choose(setting: str = AUTO) -> Program:
    """The QEMU for the setting `auto`, the name of a program on the PATH, or a path. Raises `VmFailed`."""
    known, now = _chosen.get(setting), time.monotonic()
    if known is None or now >= known[1]:
        known = _chosen[setting] = (_choose(setting), now + LASTS)
    return known[0]


def _choose(setting: str) -> Program:
    if setting != AUTO:
        return Program(_find(setting), "chosen by the settings")
    if not SLIM.exists():
        return Program(_find(DISTRIBUTION), "the slim one is not built")
    if not _others_may_run(SLIM):
        return Program(_find(DISTRIBUTION), f"hypervisors, which are users of their own, cannot reach {SLIM}")
    return Program(str(SLIM), "slim")


def _find(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise VmFailed(
            f"the hypervisor {name} is not installed",
            "hypervisor-failed",
            "install qemu-system-x86, or name the program by `qemu` in the settings",
        )
    return str(Path(path).absolute())


def _others_may_run(path: Path) -> bool:
    """Whether the rights of "others" lead to *path* and let it be executed."""
    resolved = path.resolve()
    return os.access(resolved, os.X_OK) and all(
        place.stat().st_mode & stat.S_IXOTH for place in (resolved, *resolved.parents)
    )
