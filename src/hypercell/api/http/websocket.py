# SPDX-License-Identifier: Apache-2.0
"""The WebSocket protocol (RFC 6455) on a connection that was taken over: a `RawStream` of what is in its messages."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from collections.abc import Callable

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage

from hypercell.api.http.messages import RawStream

_NORMAL = 1000


class WebSocketStream:
    """A `RawStream` over *raw*: reads what is in messages of either kind, writes binary ones (or *text*)."""

    def __init__(self, raw: RawStream, text: bool = False) -> None:
        self._raw = raw
        self._protocol = Connection(ConnectionType.SERVER)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if text else None
        self._sending = asyncio.Lock()
        """Answers to pings come between the messages of another task."""
        self._read: list[bytes] = []

    async def read(self) -> bytes:
        while not self._read:
            if self._protocol.state is not ConnectionState.OPEN:
                return b""
            data = await self._raw.read()
            self._protocol.receive_data(data or None)
            await self._take_events()
        data = b"".join(self._read)
        self._read.clear()
        return data

    async def _take_events(self) -> None:
        # A frame of any size comes in pieces as large as what was received: nothing is gathered here.
        for event in self._protocol.events():
            if isinstance(event, Message) and event.data:
                self._read.append(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
            elif isinstance(event, Ping | CloseConnection):
                # What breaks the protocol comes as a close too, which says why.
                with contextlib.suppress(ConnectionError):
                    await self._send(event.response())

    async def write(self, data: bytes) -> None:
        message: Event = BytesMessage(data)
        if self._decoder is not None:
            message = TextMessage(self._decoder.decode(data))
        await self._send(message)

    async def close(self) -> None:
        """Say that nothing more comes."""
        if self._protocol.state is ConnectionState.OPEN:
            await self._send(CloseConnection(_NORMAL))

    async def _send(self, event: Event) -> None:
        async with self._sending:
            closes = isinstance(event, CloseConnection) and self._protocol.state is ConnectionState.REMOTE_CLOSING
            if self._protocol.state is not ConnectionState.OPEN and not closes:
                raise ConnectionResetError("the client has closed the WebSocket")
            await self._raw.write(self._protocol.send(event))

    def when_gone(self, callback: Callable[[], object] | None) -> None:
        self._raw.when_gone(callback)
