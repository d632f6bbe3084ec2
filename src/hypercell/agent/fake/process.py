# SPDX-License-Identifier: Apache-2.0
"""Containers and processes of a fake guest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypercell.agent.fake.members import GuestError
from hypercell.agent.fake.programs import PROGRAMS, Program, name_of
from hypercell.agent.fake.streams import InputQueue, OutputRing
from hypercell.agent.fake.tree import Tree

if TYPE_CHECKING:
    from hypercell.agent.fake.guest import FakeGuest

_SIGINT, _SIGKILL = 2, 9
_DENIED = "denied"
"""A program of this name exists and is not executable."""


def find_program(args: list[str]) -> None:
    """Raise what `execve` of *args* would."""
    name = name_of(args)
    if name == _DENIED:
        raise GuestError("exec-denied", f"{args[0]}: permission denied")
    if name not in PROGRAMS:
        raise GuestError("exec-not-found", f"{args[0] if args else ''}: no such file or directory")


class Container:
    def __init__(self, guest: FakeGuest, name: str, config: dict[str, Any]) -> None:
        self.guest = guest
        self.name = name
        self.config = config
        self.hostname = str(config.get("hostname") or guest.hostname)
        self.tree = Tree()
        self.paused = False
        self.processes: dict[str, Process] = {}
        self.resources: dict[str, Any] = config.get("linux", {}).get("resources", {})
        self.oom_kills = 0

    @property
    def init(self) -> Process:
        return self.processes["init"]

    @property
    def status(self) -> str:
        if self.init.status == "exited":
            return "stopped"
        if self.init.status == "created":
            return "created"
        return "paused" if self.paused else "running"

    def running(self) -> list[Process]:
        return [process for process in self.processes.values() if process.status == "running"]

    def resume(self) -> None:
        self.paused = False
        for process in self.running():
            process.thaw()

    def state(self) -> dict[str, Any]:
        processes = [process.state() for process in self.processes.values()]
        return {"container": self.name, "status": self.status, "processes": processes}


class Process:
    """What a program sees of its kernel: standard streams, time, signals, an end."""

    def __init__(self, container: Container, name: str, spec: dict[str, Any]) -> None:
        self.container = container
        self.name = name
        self.pid = container.guest.next_pid()
        self.status = "created"
        self.args: list[str] = list(spec.get("args") or [])
        self.env: list[str] = list(spec.get("env") or [])
        self.cwd = str(spec.get("cwd") or "/")
        self.terminal = bool(spec.get("terminal", False))
        size = spec.get("consoleSize") or {}
        self.rows, self.columns = size.get("height", 24), size.get("width", 80)
        self.stdin: InputQueue | None = None
        self.stdout: OutputRing | None = None
        self.stderr: OutputRing | None = None
        self.code = self.signal = self.exited_ns = 0
        self.oom = False
        self._program: Program | None = None
        self._unwritten: list[tuple[OutputRing, bytearray]] = []
        self._exit: tuple[int, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due: Callable[[], None] | None = None
        self._held_signals: list[int] = []
        self._typed_end = False

    def attach(self, stdin: InputQueue | None, stdout: OutputRing | None, stderr: OutputRing | None) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        if stdin is not None:
            stdin.on_input = self._on_input
        for ring in (stdout, stderr):
            if ring is not None:
                ring.on_space = self._on_space

    def start(self) -> None:
        find_program(self.args)
        self.status = "running"
        self.become(self.args)

    def become(self, args: list[str]) -> None:
        """execve, from inside a program."""
        self.args = args
        self._program = PROGRAMS[name_of(args)](self, args)
        self._program.start()

    # For programs.

    @property
    def blocked(self) -> bool:
        """Output waits for space, or the container is paused."""
        return bool(self._unwritten) or self.container.paused

    @property
    def has_reader(self) -> bool:
        return self.stdout is not None and not self.stdout.done

    @property
    def input_ended(self) -> bool:
        return self.stdin is None or self._typed_end or self.stdin.at_end

    def read(self, limit: int) -> bytes:
        if self.stdin is None or self.container.paused:
            return b""
        data = self.stdin.take(limit)
        if self.terminal:
            if b"\x03" in data:
                self.deliver(_SIGINT)
            head, end, _ = data.replace(b"\x03", b"").partition(b"\x04")
            if end:
                self._typed_end = True
            return head
        return data

    def write(self, data: bytes, error: bool = False) -> None:
        """Write all of it; what does not fit waits, and the program is told by `space`."""
        if self.terminal:
            data = data.replace(b"\n", b"\r\n")
        ring = self.stderr if error and not self.terminal else self.stdout
        if ring is None or ring.done or not data:
            return
        if not self._unwritten:
            data = data[ring.write(data) :]
        if data:
            self._unwritten.append((ring, bytearray(data)))

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time, then)

    def exit(self, code: int) -> None:
        """End when all that was written is in the ring."""
        self._exit = self._exit or (code, 0)
        if not self._unwritten:
            self._end(*self._exit)

    def killed_by(self, number: int) -> None:
        self._unwritten.clear()
        self._end(128 + number, number)

    def out_of_memory(self) -> None:
        self.oom = True
        self.container.oom_kills += 1
        self.container.guest.event("container.oom", container=self.container.name)
        self.killed_by(_SIGKILL)

    # From outside.

    def deliver(self, number: int) -> None:
        """A signal. SIGKILL works on the frozen too, as in cgroup v2."""
        if self.status == "exited" or number == 0:
            return
        if number == _SIGKILL or self.status == "created":
            self.killed_by(number)
        elif self.container.paused:
            self._held_signals.append(number)
        elif self._program is not None:
            self._program.signal(number)

    def vanish(self) -> None:
        """The VM is gone: no timer of this process may fire."""
        self.status = "exited"
        if self._timer is not None:
            self._timer.cancel()

    def thaw(self) -> None:
        signals, self._held_signals = self._held_signals, []
        for number in signals:
            self.deliver(number)
        if self._due is not None:
            due, self._due = self._due, None
            due()
        self._on_space()
        self._on_input()

    def tell_exit(self) -> None:
        """Told once a connection until the process is reaped."""
        if self.status == "exited":
            guest, container = self.container.guest, self.container.name
            guest.event("process.exited", container=container, process=self.name, **self.ending())

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = {"process": self.name, "pid": self.pid, "status": self.status, **self.ending()}
        for name, stream in (("stdin", self.stdin), ("stdout", self.stdout), ("stderr", self.stderr)):
            if stream is not None:
                found[name] = stream.state()
        return found

    def ending(self) -> dict[str, Any]:
        return {"code": self.code, "signal": self.signal, "oom": self.oom, "exited_ns": self.exited_ns}

    def _on_time(self, then: Callable[[], None]) -> None:
        if self.container.paused:
            self._due = then
        elif self.status == "running":
            then()

    def _on_input(self) -> None:
        if self.status == "running" and self._program is not None and not self.container.paused:
            self._program.input()

    def _on_space(self) -> None:
        if self.container.paused:
            return
        while self._unwritten:
            ring, data = self._unwritten[0]
            taken = len(data) if ring.done else ring.write(bytes(data))
            if taken < len(data):
                del data[:taken]
                return
            self._unwritten.pop(0)
        if self._exit is not None:
            self._end(*self._exit)
        elif self.status == "running" and self._program is not None:
            self._program.space()

    def _end(self, code: int, number: int) -> None:
        if self.status == "exited":
            return
        self.status, self.code, self.signal, self.exited_ns = "exited", code, number, time.time_ns()
        if self._timer is not None:
            self._timer.cancel()
        if self.stdin is not None:
            self.stdin.close()
        for ring in (self.stdout, self.stderr):
            if ring is not None:
                ring.close()
        self.tell_exit()
        if self.name == "init":
            for other in self.container.running():
                other.killed_by(_SIGKILL)
