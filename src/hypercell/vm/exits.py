# SPDX-License-Identifier: Apache-2.0
"""Why a VM ended: told from what its hypervisor and its guest left behind. A pure function of that evidence."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from hypercell.vm.driver import ExitReason, VmExit

LONGEST_DETAIL = 2000
SHUT_DOWN = VmExit(ExitReason.SHUTDOWN, "it was shut down")
"""Of one that we killed, or whose agent was asked to reset the machine: nobody asks how."""
_NO_MEMORY = re.compile(r"cannot set up guest memory.*Cannot allocate memory")
_PANIC = re.compile(r"Kernel panic - not syncing.*")


@dataclass(frozen=True, slots=True)
class Evidence:
    returncode: int | None
    """Of the process: exit status, or minus the signal; None when it was not our child."""
    shutdown: str | None
    """`reason` of QEMU's SHUTDOWN event (`guest-reset`, `guest-shutdown`, `host-signal` …), None if none was seen."""
    watched: bool
    """The control socket was open to the end: no event means that there was none."""
    console: str
    log: str
    oom_killed: bool
    """The host's kernel killed it for want of memory. What a guest's own kernel kills inside is no end of a VM."""
    own_limit: bool | None = None
    """It was for going beyond the group's limit, not because the host ran out; None where the host cannot tell."""
    failure: str = ""
    """Why we ended it, who would rather not have."""


def classify(evidence: Evidence) -> VmExit:
    """The exit, with a detail for a person."""
    code = evidence.returncode
    if evidence.failure:
        return _exit(ExitReason.FAILED, f"{evidence.failure}; {_last(evidence.log)}".rstrip("; "))
    if code is not None and code < 0:
        return _exit(ExitReason.KILLED, _killed(-code, evidence))
    if code:
        return _exit(
            ExitReason.FAILED, _last(evidence.log) or f"the hypervisor ended with status {code} and said nothing"
        )
    if evidence.shutdown is not None and evidence.shutdown.startswith("host"):
        return _exit(ExitReason.KILLED, f"the hypervisor was asked to end by somebody else ({evidence.shutdown})")
    panic = _PANIC.search(evidence.console)
    if panic:
        # From the panic on: what it was about stands first, and the detail is cut at its end.
        return _exit(ExitReason.GUEST_PANIC, evidence.console[panic.start() :].strip())
    if evidence.shutdown is not None or code == 0:
        return _exit(ExitReason.GUEST_RESET, _last(evidence.console) or "the guest reset its machine")
    if not evidence.watched:
        return _exit(ExitReason.UNKNOWN, "it ended while nobody was watching")
    # Not our child, and not a word on the control socket: no orderly end.
    return _exit(ExitReason.KILLED, "the hypervisor ended without a word; " + (_last(evidence.log) or _oom(evidence)))


def no_memory(ended: VmExit) -> bool:
    """Whether the hypervisor gave up at once because the host does not give it the memory of its guest."""
    return ended.reason is ExitReason.FAILED and _NO_MEMORY.search(ended.detail) is not None


def _exit(reason: ExitReason, detail: str) -> VmExit:
    return VmExit(reason, detail[:LONGEST_DETAIL])


def _last(text: str) -> str:
    return text.strip()[-LONGEST_DETAIL:]


def _oom(evidence: Evidence) -> str:
    if not evidence.oom_killed:
        return "it was killed"
    own, host = "it went beyond the memory that it may use", "the host ran out of memory"
    return f"{own}, or {host}" if evidence.own_limit is None else own if evidence.own_limit else host


def _killed(number: int, evidence: Evidence) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    text = f"the hypervisor was ended by {name}"
    if evidence.oom_killed:
        text += f": {_oom(evidence)}"
    log = _last(evidence.log)
    return f"{text}; its last words: {log}" if log else text
