# SPDX-License-Identifier: Apache-2.0
"""What the machine bears at the moment, as its kernel measures it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_FRESH = 0.1
"""Seconds for which a reading is good enough: a gate that is asked a thousand times a second reads ten times."""
_WINDOW = 1.0
"""Seconds over which stalls are averaged, where the readings come that often."""
_STALE = 5.0
"""After a longer silence the kernel's own average of ten seconds says more than one over all that time."""


@dataclass(frozen=True, slots=True)
class Pressure:
    total: int
    """Bytes of memory that the machine has."""
    available: int
    """Bytes that can be had without swapping: MemAvailable."""
    memory: float = 0.0
    """Share of the last second in which everything that could run was held up by the want of memory (PSI `full`)."""
    cpu: float = 0.0
    """Share of the last second in which something was held up by the want of a CPU (PSI `some`)."""
    runnable: float = 0.0
    """Threads that run or could run, averaged over the last second."""


class Gauge:
    """Reads /proc. A kernel without pressure stall information reports no stalls; memory and run queue it always
    tells."""

    def __init__(self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._memory = _Stalls(proc / "pressure" / "memory", "full")
        self._cpu = _Stalls(proc / "pressure" / "cpu", "some")
        self._meminfo = _open(proc / "meminfo")
        self._loadavg = _open(proc / "loadavg")
        self._runnable = 0.0
        self._read = float("-inf")
        self._last = Pressure(0, 0)

    def read(self) -> Pressure:
        now = self._clock()
        if now - self._read >= _FRESH:
            self._smooth(now - self._read)
            self._read = now
            total, available = self._amounts()
            self._last = Pressure(total, available, self._memory.share(now), self._cpu.share(now), self._runnable)
        return self._last

    @property
    def reading(self) -> float:
        """When the last reading was taken, in the clock's seconds."""
        return self._read

    def close(self) -> None:
        for file in (self._meminfo, self._loadavg, self._memory.file, self._cpu.file):
            if file >= 0:
                os.close(file)

    def _amounts(self) -> tuple[int, int]:
        text = _text(self._meminfo)
        total = _kibibytes(text, b"MemTotal:")
        # Kernels before 3.14 do not tell what is available.
        return total, _kibibytes(text, b"MemAvailable:") or _kibibytes(text, b"MemFree:")

    def _smooth(self, passed: float) -> None:
        fields = _text(self._loadavg).split()
        try:
            now = max(0, int(fields[3].split(b"/")[0]) - 1)  # not counting the thread that reads
        except (IndexError, ValueError):
            return
        weight = min(1.0, passed / _WINDOW)
        self._runnable += weight * (now - self._runnable)


class _Stalls:
    """One line of a file of /proc/pressure."""

    def __init__(self, path: Path, line: str) -> None:
        self.file = _open(path)
        self._line = line.encode()
        self._since = float("-inf")
        self._total = 0
        self._share = 0.0

    def share(self, now: float) -> float:
        if (passed := now - self._since) < _WINDOW:
            return self._share
        average, total = self._parse()
        self._share = average if passed > _STALE else min(1.0, max(0.0, (total - self._total) / 1e6 / passed))
        self._since, self._total = now, total
        return self._share

    def _parse(self) -> tuple[float, int]:
        """The kernel's average of ten seconds (0 to 1), and the microseconds of all stalls so far."""
        for line in _text(self.file).splitlines():
            name, *fields = line.split()
            if name == self._line:
                values = dict(field.split(b"=", 1) for field in fields)
                return float(values[b"avg10"]) / 100, int(values[b"total"])
        return 0.0, 0


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _text(file: int) -> bytes:
    """All of a file of /proc, read anew; nothing where the kernel has not got it."""
    try:
        return os.pread(file, 8192, 0) if file >= 0 else b""
    except OSError:
        return b""


def _kibibytes(text: bytes, name: bytes) -> int:
    _, found, rest = text.partition(name)
    return int(rest.split(None, 1)[0]) * 1024 if found else 0
