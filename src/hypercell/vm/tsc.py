# SPDX-License-Identifier: Apache-2.0
"""The rate of this machine's time stamp counter.

An emulated guest reads the host's counter, but cannot calibrate it: its timers are emulated too, calibration fails,
and the clock falls back to 10 ms jiffies. So the rate is measured here and told to the guest's kernel.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import time
from collections.abc import Callable

# rdtsc; shl rdx, 32; or rax, rdx; ret
_CODE = bytes.fromhex("0f31 48c1e220 4809d0 c3")
_INTERVAL = 0.05
_ATTEMPTS = 50


@functools.cache
def tsc_khz() -> int | None:
    """The rate in kHz, within some parts per million; None where there is no such counter. Takes 50 ms, once."""
    if platform.machine() != "x86_64":
        return None
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(_CODE)
        anchor = ctypes.c_char.from_buffer(page)
        try:
            return _measure(ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(anchor)))
        finally:
            del anchor


def _measure(read: Callable[[], int]) -> int:
    first_ns, first = _sample(read)
    time.sleep(_INTERVAL)
    last_ns, last = _sample(read)
    return round((last - first) * 1_000_000 / (last_ns - first_ns))


def _sample(read: Callable[[], int]) -> tuple[int, int]:
    """Clock (ns) and counter at one moment: the attempt that was disturbed least."""
    clock = time.CLOCK_MONOTONIC_RAW
    best = (1 << 62, 0, 0)
    for _ in range(_ATTEMPTS):
        before = time.clock_gettime_ns(clock)
        ticks = read()
        after = time.clock_gettime_ns(clock)
        best = min(best, (after - before, (before + after) // 2, ticks))
    return best[1], best[2]
