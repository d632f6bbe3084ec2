# SPDX-License-Identifier: Apache-2.0
"""Which accelerator runs guests here, and why. Measured, not assumed: docs/adr/0003-accelerator-probe.md."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypercell.base.errors import InvalidArgument, Unsupported

KVM = "kvm"
TCG = "tcg"
CHOICES = ("auto", KVM, TCG)

_DEVICE = Path("/dev/kvm")
_TRIAL = Path(__file__).with_name("kvm_trial.py")
_PATIENCE = 2.0
"""Seconds until the trial is given up: hardware needs a hundredth of one."""
_SLOWEST_LOOP_US = 10_000
"""For 100 000 rounds. Hardware needs about 50; a KVM that emulates every instruction, 100 000."""
_SLOWEST_EXIT_US = 200.0
"""Hardware needs 1 to 2, nested hardware virtualization up to 50."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    name: str
    """`kvm` or `tcg`."""
    reason: str
    """Why, for a person: one line for `info` and `doctor`."""


def choose(setting: str = "auto") -> Accelerator:
    """The accelerator for the setting `auto`, `kvm` or `tcg`. The probe runs once in a process's life.

    Raises `Unsupported` when `kvm` is demanded and there is none, `InvalidArgument` for another word. A KVM that is
    slow is used when demanded.
    """
    if setting not in CHOICES:
        raise InvalidArgument(f"no accelerator is called {setting!r}", f"choose one of {', '.join(CHOICES)}")
    if setting == TCG:
        return Accelerator(TCG, "chosen by the settings")
    usable, fast, reason = _probed()
    if setting == KVM and not usable:
        raise Unsupported(f"KVM cannot be used here: {reason}", "set accelerator to auto or tcg")
    if setting == KVM:
        return Accelerator(KVM, f"chosen by the settings; {reason}")
    return Accelerator(KVM if fast else TCG, reason)


@functools.cache
def _probed() -> tuple[bool, bool, str]:
    return judge(_DEVICE, run_trial)


def judge(device: Path, trial: Callable[[], dict[str, object]]) -> tuple[bool, bool, str]:
    """Whether KVM is usable, whether it is fast, and the reason."""
    if not device.exists():
        return False, False, f"no {device}: the machine has no KVM, or its module is not loaded"
    if not os.access(device, os.R_OK | os.W_OK):
        return False, False, f"{device} may not be opened"
    result = trial()
    loop, leave = result.get("loop_us"), result.get("exit_us")
    if not isinstance(loop, int) or not isinstance(leave, int | float):
        return False, False, f"{device} exists, but a trial failed: {result.get('error', 'no answer')}"
    open_to_all = device_groups(device) is not None
    if loop > _SLOWEST_LOOP_US:
        text = f"{device} exists, but emulates: 100000 rounds of a loop took {loop / 1000:.0f} ms, not 0.05"
        return open_to_all, False, text
    if leave > _SLOWEST_EXIT_US:
        return open_to_all, False, f"{device} exists, but leaving the guest takes {leave:.0f} µs, not 2"
    if not open_to_all:
        return False, False, f"{device} is not open to hypervisors, which are users of their own: chgrp kvm, chmod 0660"
    return True, True, f"{device} runs guests on the hardware ({leave:.1f} µs to leave the guest)"


def device_groups(device: Path = _DEVICE) -> list[int] | None:
    """The supplementary groups with which any user may open *device*; None when there are none (but root's)."""
    status = device.stat()
    if status.st_mode & 0o006 == 0o006:
        return []
    return [status.st_gid] if status.st_mode & 0o060 == 0o060 and status.st_gid != 0 else None


def run_trial(program: Path = _TRIAL, patience: float = _PATIENCE) -> dict[str, object]:
    """Result of the trial, run in a process of its own; whatever happens to that, an answer comes in time."""
    command = [sys.executable, "-I", "-S", str(program)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=patience, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"error": f"it did not end within {patience:g} s"}
    except OSError as error:
        return {"error": str(error)}
    if done.returncode:
        return {"error": f"it ended with status {done.returncode}"}
    try:
        result = json.loads(done.stdout[:4096])
    except ValueError:
        return {"error": "it gave no answer"}
    return result if isinstance(result, dict) else {"error": "it gave no answer"}
