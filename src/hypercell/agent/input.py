# SPDX-License-Identifier: Apache-2.0
"""One input stream at the host: bytes for the guest, within the credit that it granted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypercell.agent.failure import agent_lost
from hypercell.agent.frames import DATA, EOF, MAX_DATA, ProtocolError, encode

Writable = Callable[[], asyncio.Future[None] | None]
"""What to wait for before writing more, None if nothing: the transport's back-pressure."""


class Input:
    """Implements `contract.InputStream`. Nothing is kept here: `write` waits until the bytes may go."""

    __slots__ = (
        "_closed",
        "_failure",
        "_finished",
        "_limit",
        "_send",
        "_sent",
        "_turn",
        "_waiter",
        "_writable",
        "stream",
    )

    def __init__(self, stream: int, start: int, send: Callable[[bytes], None], writable: Writable) -> None:
        self.stream = stream
        self._send = send
        self._writable = writable
        self._sent = self._limit = start
        self._closed = self._finished = False
        self._failure: str | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()

    # For the writer.

    async def write(self, data: bytes) -> None:
        async with self._turn:
            view = memoryview(data)
            while view and await self._may_send():
                count = min(len(view), self._limit - self._sent, MAX_DATA)
                self._send(encode(DATA, self.stream, bytes(view[:count]), offset=self._sent))
                self._sent += count
                view = view[count:]

    async def close(self) -> None:
        async with self._turn:
            if not self._closed:
                self._closed = True
                if self._failure is None and not self._finished:
                    self._send(encode(DATA, self.stream, flags=EOF, offset=self._sent))

    # For the connection.

    def window(self, acknowledged: int, limit: int) -> None:
        """A WINDOW frame. Raises `ProtocolError`."""
        if acknowledged > self._sent + self._closed:
            raise ProtocolError(f"stream {self.stream}: {acknowledged} acknowledged of {self._sent} sent")
        self._limit = max(self._limit, limit)
        self._wake()

    def finish(self) -> None:
        """Nobody reads it any more: what is written from now on is dropped."""
        self._finished = True
        self._wake()

    def fail(self, reason: str) -> None:
        self._failure = reason
        self._wake()

    async def _may_send(self) -> bool:
        """Wait for credit and for room in the connection. False if the bytes are to be dropped."""
        while True:
            if self._failure is not None:
                raise agent_lost(self._failure)
            if self._finished or self._closed:
                return False
            waiter = self._writable()
            if waiter is not None:
                await asyncio.shield(waiter)
            elif self._sent < self._limit:
                return True
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
