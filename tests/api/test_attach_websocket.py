# SPDX-License-Identifier: Apache-2.0
"""`GET /containers/{id}/attach/ws`: a container's streams as the messages of a WebSocket."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage

from tests.support.daemon import Daemon

from .conftest import Client, connect
from .door import Make

KEY = base64.b64encode(b"0123456789abcdef").decode()
ASKING = {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket", "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": KEY}  # fmt: skip
ALL = "stream=1&stdin=1&stdout=1&stderr=1"


class Socket:
    """A client of a WebSocket."""

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self.protocol = Connection(ConnectionType.CLIENT)
        self.heard = b""
        self.kinds: set[type[Event]] = set()
        self.closed: int | None = None
        """The code with which the server closed."""

    async def send(self, *events: Event) -> None:
        await self.connection.send(b"".join(map(self.protocol.send, events)))

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not reached():
                data = await self.connection.reader.read(65536)
                self.protocol.receive_data(data or None)
                for event in self.protocol.events():
                    self.kinds.add(type(event))
                    if isinstance(event, Message):
                        self.heard += event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                    elif isinstance(event, CloseConnection) and self.closed is None:
                        self.closed = int(event.code)

    async def until_heard(self, text: bytes) -> None:
        await self.until(lambda: text in self.heard)

    async def until_closed(self) -> int | None:
        await self.until(lambda: self.closed is not None)
        return self.closed


Open = Callable[..., Awaitable[Socket]]


@pytest.fixture
async def attach(door: Daemon) -> AsyncIterator[Open]:
    opened: list[Client] = []

    async def attach(name: str, query: str = ALL, version: str = "", **headers: str) -> Socket:
        connection = await connect(door.socket)
        opened.append(connection)
        lines = [f"GET {version}/containers/{name}/attach/ws?{query} HTTP/1.1", "Host: docker"]
        lines += [f"{key}: {value}" for key, value in (ASKING | headers).items()]
        await connection.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        status, answered = await connection.head()
        assert (status, answered["upgrade"]) == (101, "websocket")
        assert answered["sec-websocket-accept"] == "BACScCJPNqyz+UBoqMH89VmURoA="
        assert "content-type" not in answered
        socket = Socket(connection)
        socket.protocol_answered = answered.get("sec-websocket-protocol")  # type: ignore[attr-defined]
        return socket

    yield attach
    for connection in opened:
        await connection.close()


async def test_input_and_output_are_binary_messages(attach: Open, make: Make) -> None:
    socket = await attach(await make("cat", start=True, OpenStdin=True))
    await socket.send(BytesMessage(b"hel"), TextMessage("lo\n"), BytesMessage(b"\xff\n"))
    await socket.until_heard(b"hello\n\xff\n")
    assert socket.kinds == {BytesMessage}


async def test_before_1_28_messages_are_text(attach: Open, make: Make) -> None:
    socket = await attach(await make("cat", start=True, OpenStdin=True), version="/v1.27")
    await socket.send(BytesMessage("grüße\n".encode()))
    await socket.until_heard("grüße\n".encode())
    assert socket.kinds == {TextMessage}


async def test_what_was_said_before_comes_first_and_the_end_is_told(attach: Open, client: Client, make: Make) -> None:
    name = await make("echo", "said", start=True)
    await client.ask("POST", f"/containers/{name}/wait")
    socket = await attach(name, "logs=1&stdout=1")
    assert await socket.until_closed() == 1000
    assert socket.heard == b"said\n"
    assert await socket.connection.reader.read() == b""


async def test_detach_keys_close_it_and_the_container_goes_on(attach: Open, client: Client, make: Make) -> None:
    name = await make("cat", start=True, OpenStdin=True, Tty=True)
    socket = await attach(name, f"{ALL}&detachKeys=ctrl-a,x")
    await socket.send(BytesMessage(b"\x01"), BytesMessage(b"x"))
    assert await socket.until_closed() == 1000
    assert (await client.ask("GET", f"/containers/{name}/json"))[1]["State"]["Running"]


async def test_a_close_is_answered_and_ends_the_input_that_is_this_clients(
    attach: Open, client: Client, make: Make
) -> None:
    name = await make("cat", start=True, OpenStdin=True, StdinOnce=True)
    socket = await attach(name)
    await socket.send(BytesMessage(b"last\n"), CloseConnection(1001))
    assert await socket.until_closed() == 1001
    assert await socket.connection.reader.read() == b""
    assert (await client.ask("POST", f"/containers/{name}/wait"))[1]["StatusCode"] == 0
    _, log = await client.ask("GET", f"/containers/{name}/logs?stdout=1")
    assert log.endswith(b"last\n")


async def test_one_that_only_listens_ends_with_its_close(attach: Open, make: Make) -> None:
    socket = await attach(await make("cat", start=True, OpenStdin=True), "stream=1&stdout=1")
    await socket.send(CloseConnection(1000))
    assert await socket.until_closed() == 1000
    assert await socket.connection.reader.read() == b""


async def test_a_ping_is_answered(attach: Open, make: Make) -> None:
    socket = await attach(await make("cat", start=True, OpenStdin=True))
    await socket.send(Ping(b"there?"))
    await socket.until(lambda: Pong in socket.kinds)


async def test_a_subprotocol_is_confirmed(attach: Open, make: Make) -> None:
    socket = await attach(await make("cat"), **{"Sec-WebSocket-Protocol": "tty"})
    assert socket.protocol_answered == "tty"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Upgrade", "tcp"),
        ("Connection", "keep-alive"),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "c2hvcnQ="),
        ("Sec-WebSocket-Key", "?" * 24),
    ],
)
async def test_what_asks_for_no_websocket_is_refused(client: Client, make: Make, header: str, value: str) -> None:
    name = await make("cat")
    status, answer = await client.ask("GET", f"/containers/{name}/attach/ws", headers=ASKING | {header: value})
    assert status == 400, answer


async def test_an_error_before_the_handshake_is_an_ordinary_answer(client: Client) -> None:
    assert (await client.ask("GET", "/containers/nosuch/attach/ws", headers=ASKING))[0] == 404
    assert (await client.ask("GET", "/containers/nosuch/attach/ws?detachKeys=ctrl-", headers=ASKING))[0] == 400


MASK = b"\0\0\0\0"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x82\x03abc", 1002),  # not masked
        (b"\xc2\x80" + MASK, 1002),  # a reserved bit
        (b"\x83\x80" + MASK, 1002),  # a reserved opcode
        (b"\x80\x80" + MASK, 1002),  # goes on with nothing
        (b"\x02\x80" + MASK + b"\x82\x80" + MASK, 1002),  # begins before the last has ended
        (b"\x89\xfe\x01\x00" + MASK + bytes(256), 1002),  # a ping of 256 bytes
        (b"\x09\x80" + MASK, 1002),  # a ping in pieces
        (b"\x82\xff" + struct.pack(">Q", 1 << 63) + MASK, 1002),  # longer than a length may be
        (b"\x81\x82" + MASK + b"\xff\xfe", 1007),  # text that is none
        (b"\x88\x81" + MASK + b"\x03", 1002),  # half a code
        (b"\x88\x82" + MASK + struct.pack(">H", 5), 1002),  # a code that may not be sent
    ],
)
async def test_what_breaks_the_protocol_ends_it(
    door: Daemon, attach: Open, client: Client, make: Make, frames: bytes, code: int
) -> None:
    name = await make("cat", start=True, OpenStdin=True)
    socket = await attach(name)
    await socket.connection.send(frames)
    assert await socket.until_closed() == code
    assert await socket.connection.reader.read() == b""
    assert (await client.ask("GET", f"/containers/{name}/json"))[1]["State"]["Running"]
    assert "Traceback" not in door.log.read_text()


async def test_a_frame_that_never_ends_is_input_as_it_comes(attach: Open, make: Make) -> None:
    socket = await attach(await make("cat", start=True, OpenStdin=True))
    await socket.connection.send(b"\x82\xff" + struct.pack(">Q", 1 << 62) + MASK)
    for number in range(64):
        await socket.connection.send(bytes(16383) + b"\n")
        await socket.until(lambda: len(socket.heard) >= 16384 * (number + 1))  # noqa: B023
