# SPDX-License-Identifier: Apache-2.0
"""VMs that are made ready get the CPU time that nobody else wants (sched(7), SCHED_IDLE), until they are claimed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_PARAMETERS = os.sched_param(0)


def to_background(pid: int) -> None:
    """All threads of a hypervisor, and those that it makes later. Where that may not be it stays as it is."""
    with contextlib.suppress(OSError):
        _set(pid, os.SCHED_IDLE)


def to_foreground(pid: int) -> None:
    """As any other process again. Raises `OSError`."""
    _set(pid, os.SCHED_OTHER)


def _set(pid: int, policy: int) -> None:
    for thread in (Path("/proc") / str(pid) / "task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), policy, _PARAMETERS)
