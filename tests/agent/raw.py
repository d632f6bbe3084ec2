# SPDX-License-Identifier: Apache-2.0
"""A guest that says exactly what a test tells it to, over a connection in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from hypercell.agent import Client, Json, connect, frames
from hypercell.agent.fake.pipe import as_streams, memory_pipe

BOOT_ID = "0a339324-45fc-4b5c-98f0-ef5c80749fe9"
WELCOME = {
    "version": 1,
    "agent": "0.1.0",
    "features": ["exec"],
    "kernel": "6.1.0-raw",
    "arch": "x86_64",
    "boot_id": BOOT_ID,
    "fresh": True,
}


def payload(members: Any) -> bytes:
    return json.dumps(members).encode()


class RawGuest(asyncio.Protocol):
    """Greets (unless told otherwise) and then only records. `script` is called with every frame after the greeting."""

    def __init__(self) -> None:
        self.frames: list[frames.Frame] = []
        self.hellos: list[Json] = []
        self.script: Callable[[RawGuest, frames.Frame], None] = lambda guest, frame: None
        self.answer: Callable[[RawGuest, Json], None] = lambda guest, hello: guest.welcome(hello)
        self.connections = 0
        self.bytes_received = 0
        self.gone = asyncio.Event()
        self._changed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._parser = frames.FrameParser(frames.FROM_HOST, recover=True)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The opener for `connect`."""
        self.connections += 1
        self.gone.clear()
        self._parser.reset()
        host, guest = memory_pipe()
        guest.set_protocol(self)
        self._transport = guest
        return as_streams(host)

    async def connect(self, on_event: Callable[[Json], None] = lambda event: None, timeout: float = 10.0) -> Client:
        return await connect(self.open, on_event, timeout)

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        for frame in self._parser.feed(data):
            if frame[0] == frames.HELLO:
                hello = json.loads(frame[4])
                self.hellos.append(hello)
                self.answer(self, hello)
            elif frame[0] != frames.GREETING:
                self.frames.append(frame)
                self.script(self, frame)
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.gone.set()
        self._changed.set()

    def send(self, *parts: bytes) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(parts))

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def welcome(self, hello: Json, **members: Any) -> None:
        welcome = {**WELCOME, "nonce": hello["nonce"], **members}
        self.send(frames.SYNC, frames.encode(frames.WELCOME, 0, payload(welcome)))

    def reply(self, ident: int, members: Any) -> None:
        self.send(frames.encode(frames.REPLY, ident, payload(members)))

    def error(self, ident: int, code: str, message: str = "no") -> None:
        self.send(frames.encode(frames.ERROR, ident, payload({"code": code, "message": message})))

    def event(self, name: str, **members: Any) -> None:
        self.send(frames.encode(frames.EVENT, 0, payload({"event": name, **members})))

    def data(self, stream: int, offset: int, data: bytes, eof: bool = False) -> None:
        self.send(frames.encode(frames.DATA, stream, data, int(eof), offset))

    def requests(self) -> list[tuple[int, Json]]:
        return [(frame[2], json.loads(frame[4])) for frame in self.frames if frame[0] == frames.REQUEST]

    def windows(self, stream: int) -> list[tuple[int, int]]:
        """(acknowledged, limit) of every WINDOW for *stream*."""
        return [
            (frames.acknowledged_of(frame[4]), frame[3])
            for frame in self.frames
            if frame[0] == frames.WINDOW and frame[2] == stream
        ]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that the host sent makes *condition* true."""
        while not condition():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 10)


def answering(replies: dict[str, Any]) -> Callable[[RawGuest, frames.Frame], None]:
    """A script that answers each operation with what *replies* has for it, `{}` for others."""

    def script(guest: RawGuest, frame: frames.Frame) -> None:
        if frame[0] == frames.REQUEST:
            guest.reply(frame[2], replies.get(json.loads(frame[4])["op"], {}))

    return script


async def turns(count: int = 20) -> None:
    """Let the loop carry out what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until *condition* holds."""
    for _ in range(600):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")
