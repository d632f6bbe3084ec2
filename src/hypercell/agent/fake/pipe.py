# SPDX-License-Identifier: Apache-2.0
"""A pair of connected transports in memory: a UNIX socket pair without the descriptors."""

from __future__ import annotations

import asyncio
from typing import Any

_CHUNK = 65536


class MemoryTransport(asyncio.Transport):
    """One end. What is written here is given to the protocol of `peer` in a later turn of the loop."""

    peer: MemoryTransport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._protocol: asyncio.BaseProtocol | None = None
        self._inbox = bytearray()
        self._scheduled = False
        self._reading = True
        self._closing = False
        self._lost = False
        self._writer_paused = False
        self._high, self._low = 65536, 16384

    # What asyncio.Transport promises.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._schedule()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65536 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes that the other side has not taken."""
        return len(self.peer._inbox)

    def can_write_eof(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        peer = self.peer
        if self._closing or peer._closing:
            return
        peer._inbox += data
        peer._schedule()
        if not self._writer_paused and len(peer._inbox) > self._high and self._protocol is not None:
            self._writer_paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """The other side still gets what was written."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose)
            self.peer._schedule()

    def abort(self) -> None:
        if not self._lost:
            self._closing = True
            self.peer._inbox.clear()
            self._loop.call_soon(self._lose)
            self.peer._schedule()

    # Delivery.

    def _schedule(self) -> None:
        if not self._scheduled and self._reading and not self._closing:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self._closing or not self._reading:
            return
        if self._inbox:
            data = bytes(self._inbox[:_CHUNK])
            del self._inbox[:_CHUNK]
            self.peer._drained()
            self._give(data)
        if self._inbox:
            self._schedule()
        elif self.peer._closing and not self._closing:
            self._closing = True
            self._lose()

    def _give(self, data: bytes) -> None:
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            while data and not self._closing:
                buffer = memoryview(protocol.get_buffer(len(data))).cast("B")
                count = min(len(buffer), len(data))
                buffer[:count] = data[:count]
                protocol.buffer_updated(count)
                data = data[count:]
        elif isinstance(protocol, asyncio.Protocol):
            protocol.data_received(data)

    def _drained(self) -> None:
        if self._writer_paused and len(self.peer._inbox) <= self._low and self._protocol is not None:
            self._writer_paused = False
            self._protocol.resume_writing()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._inbox.clear()
            if self._protocol is not None:
                self._protocol.connection_lost(None)


def memory_pipe() -> tuple[MemoryTransport, MemoryTransport]:
    """Two connected transports of the running loop; each needs a `set_protocol`."""
    loop = asyncio.get_running_loop()
    one, other = MemoryTransport(loop), MemoryTransport(loop)
    one.peer, other.peer = other, one
    return one, other


def as_streams(transport: asyncio.Transport) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A reader and a writer over *transport*, as `asyncio.open_connection` would return them."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
