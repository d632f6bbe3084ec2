# SPDX-License-Identifier: Apache-2.0
"""The words that the node and everything above it share: states, log records, restart policies, attachments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from typing import Protocol

from hypercell.node.health import Health

OPERATOR_TENANT = "default"
"""Whoever speaks on the local socket."""


class Output(IntEnum):
    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    name: str = "no"
    """`no`, `always`, `on-failure`, `unless-stopped`."""
    maximum_retries: int = 0


@dataclass(frozen=True, slots=True)
class LogSpec:
    """How a container's log is kept."""

    kept: bool = True
    """False: only who is attached gets what it writes, and nobody can read it afterwards."""
    files: int = 0
    """0: the operator's."""
    file_size: int = 0
    """Bytes; 0: the operator's share of one file."""
    compress: bool = False
    """The files that are written no more."""
    buffer: int | None = None
    """Bytes of output that wait in memory while the log cannot be written; the oldest beyond that are dropped. None:
    nothing is dropped, the program waits."""


class Status(StrEnum):
    """docker's words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class State:
    status: Status
    pid: int = 0
    """The hypervisor's, on this machine; 0 when none runs."""
    exit_code: int = 0
    error: str = ""
    """Why it did not start or ended abnormally; says which of the VM failures it was."""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    health: Health | None = None
    """None: it has no health check, or never ran."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    stream: Output
    time_ns: int
    data: bytes
    """A line with its newline, or a piece of one (16 KiB at most)."""
    more: bool = False
    """Another one follows at once: who sends them may gather them."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since_ns: int = 0
    until_ns: int = 0
    """0: no end."""
    tail: int = -1
    """Last N records; -1: all."""


class ChangeKind(Enum):
    """What became of a path since its container was created: the letters of docker's command."""

    MODIFIED = "C"
    ADDED = "A"
    DELETED = "D"


@dataclass(frozen=True, slots=True)
class Change:
    path: bytes
    """Absolute; any bytes but NUL."""
    kind: ChangeKind


class Attachment(Protocol):
    """A client at a process's streams. Slow readers hold up nobody but themselves: see `output`."""

    tty: bool

    def output(self) -> AsyncIterator[tuple[Output, bytes]]:
        """What the process writes, until it ends or `detach`. A reader of a container that falls more than 1 MiB behind
        is served from the log until it has caught up; a slow reader of an exec slows that exec, as a pipe does."""

    async def write(self, data: bytes) -> None:
        """To its stdin; returns when there is room for more. Silently dropped when nobody reads any more."""

    async def close_stdin(self) -> None: ...
    async def resize(self, rows: int, columns: int) -> None: ...
    async def detach(self) -> None: ...
