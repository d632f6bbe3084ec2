# SPDX-License-Identifier: Apache-2.0
"""Processes by descriptor: one that ended, and whose number another process has got, is never taken for it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
from pathlib import Path

from hypercell.base.digits import is_digits

_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36


def stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on (proc(5)); None when there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes().decode(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> int:
    """When *pid* was started, in clock ticks since boot; 0 when there is no such process, or it is a zombie."""
    fields = stat_fields(pid)
    return 0 if fields is None or fields[0] in "ZX" else int(fields[19])


def find_hypervisor(uid: int, vm_id: str) -> int:
    """The process of user *uid* that was started as `… -name <vm_id> …`, or 0.

    For a launch that was cut short between starting the process and writing down its number. One that was forked has
    its name in the place of a longer one (hypervisor/fork.c).
    """
    wanted = re.compile(rb"\x00-name\x00" + re.escape(vm_id.encode()) + rb" *\x00")  # "\0" may go on with a digit
    for entry in os.scandir(_PROC):
        if is_digits(entry.name):
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == uid and wanted.search((_PROC / entry.name / "cmdline").read_bytes()):
                    return int(entry.name)
    return 0


def adopt_orphans() -> None:
    """From now on, what a process of ours has left behind is our own child (prctl(2), PR_SET_CHILD_SUBREAPER): its exit
    status is for us to see. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def end_child(pid: int) -> None:
    """Kill our own child *pid*, which nobody waits for, and wait for it: it is not worth while to do something else
    meanwhile."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Process:
    """A process, ours or not, held by a descriptor.

    `returncode` (exit status, or minus the signal) is known only of our own children, once they are gone.
    """

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = descriptor
        loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = loop.create_future()
        loop.add_reader(descriptor, self._ended)

    @classmethod
    def child(cls, pid: int) -> Process:
        """Our own child *pid*, which nobody else waits for."""
        return cls(pid, os.pidfd_open(pid))

    @classmethod
    def find(cls, pid: int, started: int) -> Process | None:
        """The process *pid* that was started at *started*, if it still runs."""
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return None
        # Looked at after it is held: what has this start time now is what the descriptor names.
        if started == 0 or start_time(pid) != started:
            os.close(descriptor)
            return None
        return cls(pid, descriptor)

    @property
    def gone(self) -> bool:
        return self._gone.done()

    def kill(self) -> None:
        """SIGKILL. No error when it is gone."""
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    async def wait(self) -> None:
        await asyncio.shield(self._gone)

    def close(self) -> None:
        """Let go of it, without touching it."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        if not self._gone.done():
            self._gone.cancel()

    def _ended(self) -> None:
        with contextlib.suppress(ChildProcessError):  # it is somebody else's
            result = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOHANG)
            if result is None:
                return
            self.returncode = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        if not self._gone.done():
            self._gone.set_result(None)
