# SPDX-License-Identifier: Apache-2.0
"""The host's side of the agent protocol (docs/agent-protocol.md), as the node uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Opener = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Welcome:
    version: int
    agent: str
    features: frozenset[str]
    kernel: str
    boot_id: str
    """Of the guest's kernel; "" until a `configure` brought entropy."""
    fresh: bool


class OutputStream(Protocol):
    """Bytes from the guest. Single reader."""

    async def read(self) -> bytes:
        """The next bytes (≤ 64 KiB), b'' at EOF. Raises `VmFailed('agent-lost')` when the connection ends first.

        EOF is also the end of a stream whose request failed, or whose process was reaped or container deleted.
        """

    @property
    def position(self) -> int:
        """Absolute offset behind the last byte that `read` returned."""

    def acknowledge(self, position: int) -> None:
        """All bytes below are safe; grants as much again. EOF is acknowledged with position + 1. No waiting.

        Told to the guest every 32 KiB and at EOF. Nothing happens on a connection that ended.
        """


class InputStream(Protocol):
    async def write(self, data: bytes) -> None:
        """Returns when the bytes are on their way (within the guest's credit).

        Dropped after the process ended or closed its end. Raises `VmFailed('agent-lost')`.
        """

    async def close(self) -> None: ...


class Agent(Protocol):
    """One greeted connection. When it ends, `closed` is set and everything pending raises `VmFailed('agent-lost')`."""

    welcome: Welcome
    closed: asyncio.Event
    failure: str | None
    """Why it ended, for a person; None while it lives."""

    async def request(self, op: str, members: Mapping[str, Any] | None = None, timeout: float = 30.0) -> Json:
        """The reply, checked: members that the protocol does not name are left out, missing numbers are 0.

        The guest's ERROR becomes the house's error: invalid -> InvalidArgument, not-found -> NotFound, exists/busy ->
        Conflict, unsupported -> Unsupported, exec-not-found/exec-denied -> ExecFailed(127/126), no-space -> NoSpace,
        else Internal. A timeout is `VmFailed('agent-lost')`; the connection stays, and the late answer is dropped.
        """

    def new_stream(self) -> int:
        """A stream id never used in this VM (ids survive reconnects: see `reserve_streams`)."""

    def reserve_streams(self, above: int) -> None: ...

    def output(self, stream: int, start: int = 0) -> OutputStream:
        """Begin to receive: grants credit from `start`. Call it before or after the request that creates the stream."""

    def input(self, stream: int, start: int = 0) -> InputStream: ...

    async def close(self) -> None: ...


Connect = Callable[[Opener, Callable[[Json], None], float], Awaitable[Agent]]
"""connect(opener, on_event, timeout): greet, retrying until the deadline; `VmFailed('boot-failed')` if none answers.

What the opener raises is passed on, but for an `OSError`, after which it is tried again. `on_event` is called with each
EVENT, synchronously, already validated; the first may come before `connect` returns."""
