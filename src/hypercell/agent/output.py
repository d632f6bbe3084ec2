# SPDX-License-Identifier: Apache-2.0
"""One output stream at the host: what came and was not read yet, and the credit that bounds it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from hypercell.agent.failure import agent_lost
from hypercell.agent.frames import MAX_DATA, ProtocolError, encode_window

CREDIT: Final = 256 * 1024
"""Bytes that the guest may be ahead of the last acknowledgement: what an unread stream costs at most."""

ACKNOWLEDGE_EVERY: Final = 32 * 1024
"""Half of the guest's smallest ring: acknowledged this often, it never runs full under a quick reader."""


class Output:
    """Implements `contract.OutputStream`."""

    __slots__ = (
        "_acknowledged",
        "_announced",
        "_chunks",
        "_eof",
        "_failure",
        "_limit",
        "_on_settled",
        "_position",
        "_received",
        "_send",
        "_waiter",
        "stream",
    )

    def __init__(
        self, stream: int, start: int, send: Callable[[bytes], None], on_settled: Callable[[int], None]
    ) -> None:
        self.stream = stream
        self._send = send
        self._on_settled = on_settled
        self._position = self._received = self._acknowledged = start
        self._limit = start + CREDIT
        self._announced = False
        self._eof = False
        self._failure: str | None = None
        self._chunks: deque[bytes | bytearray] = deque()
        self._waiter: asyncio.Future[None] | None = None

    # For the reader.

    @property
    def position(self) -> int:
        return self._position

    async def read(self) -> bytes:
        while not self._chunks:
            if self._eof:
                return b""
            if self._failure is not None:
                raise agent_lost(self._failure)
            if self._waiter is not None:
                raise RuntimeError(f"stream {self.stream} has a reader already")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunk = self._chunks.popleft()
        self._position += len(chunk)
        return chunk if type(chunk) is bytes else bytes(chunk)

    def acknowledge(self, position: int) -> None:
        if position > self._received + self._eof:
            raise ValueError(f"stream {self.stream}: {position} was never received")
        ahead = position - self._acknowledged
        if ahead <= 0:
            return
        ended = position > self._received
        if ahead >= ACKNOWLEDGE_EVERY or ended:
            self._acknowledged = position
            self._limit = max(self._limit, position + CREDIT)
            if self._announced:
                self._grant()
        if ended:
            self._on_settled(self.stream)

    # For the connection.

    def announce(self) -> None:
        """Grant the first credit: the guest knows the stream now."""
        self._announced = True
        self._grant()

    def data(self, offset: int, payload: bytes, eof: bool) -> None:
        """A DATA frame. Raises `ProtocolError`."""
        received = self._received
        end = offset + len(payload)
        if offset != received:
            if offset > received:
                raise ProtocolError(f"stream {self.stream}: a gap from {received} to {offset}")
            payload = payload[received - offset :]
        if payload:
            if end > self._limit or not self._announced:
                raise ProtocolError(f"stream {self.stream}: bytes over the credit")
            if self._eof:
                raise ProtocolError(f"stream {self.stream}: bytes behind the end")
            self._received = end
            self._keep(payload)
        if eof:
            if end != self._received:
                raise ProtocolError(f"stream {self.stream}: an end at {end} after {self._received} bytes")
            self._eof = True
        self._wake()

    def finish(self) -> None:
        """The guest forgot the stream: what came can still be read, then it ends."""
        self._eof = True
        self._announced = False
        self._wake()

    def fail(self, reason: str) -> None:
        self._failure = reason
        self._announced = False
        self._wake()

    def _keep(self, payload: bytes) -> None:
        # Small frames are joined, so that a million of them cost the reader no million of turns.
        chunks = self._chunks
        if chunks and len(chunks[-1]) + len(payload) <= MAX_DATA:
            last = chunks[-1]
            if type(last) is bytearray:
                last += payload
            else:
                chunks[-1] = bytearray(last) + payload
        else:
            chunks.append(payload)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _grant(self) -> None:
        self._send(encode_window(self.stream, self._acknowledged, self._limit))
