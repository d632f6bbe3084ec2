# SPDX-License-Identifier: Apache-2.0
"""One accepted socket: bytes in and out with back-pressure, half-close kept apart from close.

asyncio's own streams cannot tell "will send no more" from "is gone", and both matter here: the first is the end of
a container's standard input while its output goes on, the second ends `logs --follow`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

HIGH_WATER = 256 * 1024
"""Bytes received and not yet read at which the socket is no longer read (and the kernel holds up the sender)."""

_FIRST_LOOK, _LAST_LOOK = 0.0005, 0.1
"""Seconds between two looks at whether the other side has read."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected, as the kernel says (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


class Channel(asyncio.Protocol):
    """A connection. *accepted* is called once it is there; single reader, single writer."""

    def __init__(self, accepted: Callable[[Channel], None]) -> None:
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._writing_paused = False
        self._gone_callback: Callable[[], object] | None = None
        self._hang_up: select.epoll | None = None
        self.eof = False
        """The other side will send no more."""
        self.gone = False
        """The other side is not there any more: nothing that is written arrives."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._accepted(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) >= HIGH_WATER and not self._reading_paused and self._transport:
            self._reading_paused = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self.eof = True
        _wake(self._reader)
        if self._gone_callback is not None:
            self._watch_hang_up()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.eof = True
        self._is_gone()
        self._transport = None
        if self._hang_up is not None:
            self._loop.remove_reader(self._hang_up.fileno())
            self._hang_up.close()
            self._hang_up = None

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        _wake(self._writer)

    # for the server

    @property
    def socket(self) -> socket.socket | None:
        return self._transport.get_extra_info("socket") if self._transport else None

    @property
    def local(self) -> bool:
        """True for a UNIX socket, which no browser and no other machine can reach."""
        connection = self.socket
        return connection is not None and connection.family == socket.AF_UNIX

    @property
    def peer(self) -> Peer | None:
        connection = self.socket
        if connection is None or connection.family != socket.AF_UNIX:
            return None
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return Peer(*struct.unpack("3i", packed))

    def take(self) -> bytes:
        """What has been received and not read, possibly nothing."""
        data = bytes(self._received)
        self._received.clear()
        if self._reading_paused and self._transport:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def read(self) -> bytes:
        """The next bytes; b'' when there will be no more."""
        while not self._received:
            if self.eof:
                return b""
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.take()

    def write(self, data: bytes) -> None:
        """Send; follow it with `drain` wherever the amount is not small. Raises `ConnectionResetError` when gone."""
        if self._transport is None or self.gone:
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)

    async def drain(self) -> None:
        """Return when there is room for more. Raises `ConnectionResetError` when gone."""
        while self._writing_paused and not self.gone:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        if self.gone:
            raise ConnectionResetError("the client is gone")

    async def taken(self, seconds: float) -> None:
        """Return when the other side has read all that was written, or is gone, or after *seconds*."""
        pause, deadline = _FIRST_LOOK, self._loop.time() + seconds
        while self._untaken() and not self.gone and self._loop.time() < deadline:
            await asyncio.sleep(pause)  # no event tells of it
            pause = min(pause * 2, _LAST_LOOK)

    def _untaken(self) -> bool:
        connection = self.socket
        if connection is None or self._transport is None:
            return False
        if self._transport.get_write_buffer_size():
            return True
        queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        return queued != b"\0" * 4

    def write_eof(self) -> None:
        if self._transport is not None and not self.gone:
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def close(self) -> None:
        """Close once all that was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def when_gone(self, callback: Callable[[], object] | None) -> None:
        """Call *callback* (once) when the other side closes for good; None: do not. A half-close does not count."""
        self._gone_callback = callback
        if callback is None:
            return
        if self.gone:
            self._loop.call_soon(self._is_gone)
        elif self.eof:
            self._watch_hang_up()

    def _watch_hang_up(self) -> None:
        # After an end of input asyncio no longer polls the socket. An epoll instance with an empty event mask
        # reports one thing only: that both directions are shut. It is itself pollable.
        connection = self.socket
        if connection is None or self._hang_up is not None:
            return
        self._hang_up = select.epoll()
        self._hang_up.register(connection.fileno(), 0)
        self._loop.add_reader(self._hang_up.fileno(), self._hung_up)

    def _hung_up(self) -> None:
        if self._hang_up is not None:
            self._loop.remove_reader(self._hang_up.fileno())
        self.abort()
        self._is_gone()

    def _is_gone(self) -> None:
        self.gone = True
        _wake(self._reader)
        _wake(self._writer)
        callback, self._gone_callback = self._gone_callback, None
        if callback is not None:
            callback()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
