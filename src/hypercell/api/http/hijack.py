# SPDX-License-Identifier: Apache-2.0
"""The hijack: docker's way to turn a request into a raw two-way stream (attach, exec).

A client that sends `Upgrade: tcp` is answered `101 UPGRADED`; one that does not (docker's older form) gets a `200`
without any framing. Either way the bytes after the heads are the stream's. A client that shuts down its sending side
says "end of input" and goes on reading.

docker-py reads the answer's head through a buffer that it then throws away, with all that came along. dockerd sends
the head long before a process of its says anything; here a process may be quicker than the client, so that the stream
begins when the head was read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from hypercell.api.http.channel import Channel
from hypercell.api.http.messages import Headers, Hijack

_PATIENCE = 1.0
"""Seconds for a client to read the head; one that does not gets the stream behind it all the same."""


class ChannelStream:
    """A `RawStream` over a channel on which the head was written; *leftover* came in the same packet as the request."""

    def __init__(self, channel: Channel, leftover: bytes) -> None:
        self._channel = channel
        self._leftover = leftover
        self._begun = False

    async def read(self) -> bytes:
        if self._leftover:
            data, self._leftover = self._leftover, b""
            return data
        return await self._channel.read()

    async def write(self, data: bytes) -> None:
        if not self._begun:
            await self._channel.taken(_PATIENCE)
            self._begun = True
        self._channel.write(data)
        await self._channel.drain()

    def when_gone(self, callback: Callable[[], object] | None) -> None:
        self._channel.when_gone(callback)


async def run_hijack(channel: Channel, hijack: Hijack, upgrade: bool, leftover: bytes, headers: Headers) -> None:
    """Answer, hand the connection over, and return when the handler is done with it. Closing is the caller's."""
    lines = [
        "HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK",
        *((f"Content-Type: {hijack.content_type}",) if hijack.content_type else ()),
        *(("Connection: Upgrade", f"Upgrade: {hijack.protocol}") if upgrade else ()),
        *(f"{name}: {value}" for name, value in (*hijack.headers, *headers)),
    ]
    # A client that is gone already is no exception: what the handler has opened for it, only `run` closes.
    with contextlib.suppress(ConnectionResetError):
        channel.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    task = asyncio.current_task()
    assert task is not None
    channel.when_gone(task.cancel)
    try:
        await hijack.run(ChannelStream(channel, leftover))
        channel.when_gone(None)
        await channel.drain()
    except asyncio.CancelledError:
        if not channel.gone:
            raise
        raise ConnectionResetError("the client is gone") from None
    finally:
        channel.when_gone(None)
