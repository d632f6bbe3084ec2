# SPDX-License-Identifier: Apache-2.0
"""Signals by name or number, as docker takes them; numbers are Linux's on x86 (signal(7))."""

from __future__ import annotations

from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument

SIGTERM, SIGKILL = 15, 9
_NAMES = """
HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU
XFSZ VTALRM PROF WINCH IO PWR SYS
"""
NUMBERS = {name: number for number, name in enumerate(_NAMES.split(), 1)} | {"IOT": 6, "CLD": 17, "POLL": 29}
NUMBERS |= {"RTMIN": 34, "RTMAX": 64}
NUMBERS |= {f"RTMIN+{n}": 34 + n for n in range(1, 16)} | {f"RTMAX-{n}": 64 - n for n in range(1, 15)}


def number(signal: str) -> int:
    """`KILL`, `SIGKILL`, `kill` or `9`. Raises `InvalidArgument`."""
    if is_digits(signal, longest=3) and 1 <= int(signal) <= 64:
        return int(signal)
    try:
        return NUMBERS[signal.upper().removeprefix("SIG")]
    except KeyError:
        raise InvalidArgument(f"Invalid signal: {signal}", "see signal(7)") from None
