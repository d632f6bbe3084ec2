# SPDX-License-Identifier: Apache-2.0
"""A daemon among clients that mean harm: it answers with a clear 4xx or closes, and serves on in little memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

from .conftest import Client, connect
from .door import Make, upgrade

HOST = b"Host: docker\r\n"
JSON = b"Content-Type: application/json\r\n"
MIB = 1024 * 1024


def create(body: bytes) -> bytes:
    return b"POST /containers/create HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body


def get(target: bytes, *headers: bytes) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in headers) + b"\r\n"


def post(target: bytes, *headers: bytes) -> bytes:
    return b"POST" + get(target, *headers)[3:]


def resident(door: Daemon) -> int:
    """Bytes of memory that the daemon has."""
    assert door.process is not None
    lines = Path(f"/proc/{door.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def plug(door: Daemon) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(door.socket))
    return connection


async def serves(door: Daemon) -> bool:
    client = await connect(door.socket)
    try:
        return (await client.ask("GET", "/containers/json"))[0] == 200
    finally:
        await client.close()


REFUSED = {
    "nested 10^5 deep": create(b"[" * 100_000 + b"]" * 100_000),
    "objects nested 10^5 deep": create(b'{"Labels":' * 100_000 + b"1" + b"}" * 100_000),
    "nested 10^5 deep in strings' clothes": create(b'{"Image":"' + b'\\"[' * 100_000 + b'"}' + b"[" * 100_000),
    "a filter nested deep": get(b"/containers/json?filters=" + b"%5B" * 20_000),
    "a key twice": create(b'{"Image":"a","Image":"b"}'),
    "a key in two cases": create(b'{"Image":"a","image":"b"}'),
    "a number of 10^6 digits": create(b'{"HostConfig":{"Memory":' + b"9" * 1_000_000 + b"}}"),
    "no number": create(b'{"Image":"a","HostConfig":{"Memory":NaN}}'),
    "an infinite number": create(b'{"Image":"a","HostConfig":{"Memory":1e999}}'),
    "no UTF-8": create(b'{"Image":"\xff"}'),
    "UTF-16": create('{"Image":"a"}'.encode("utf-16")),
    "a lone surrogate": create(b'{"Image":"\\ud800"}'),
    "NUL in a document": create(b'{"Image":"a\\u0000b"}'),
    "NUL in a name": get(b"/containers/%00/json"),
    "NUL in a path of a container": get(b"/containers/x/archive?path=%00"),
    "NUL in a header": get(b"/_ping", b"X: a\0b"),
    "a path that is no UTF-8": get(b"/containers/%ff/json"),
    "a surrogate in a path": get(b"/containers/%ed%a0%80/json"),
    "a query that is no UTF-8": get(b"/containers/json?limit=%ff"),
    "raw bytes in a path": get(b"/containers/\xff/json"),
    "a broken escape": get(b"/containers/%zz/json"),
    "a broken escape in a query": get(b"/containers/json?all=%z"),
    "semicolons in a query": get(b"/containers/json?all=0;all=1"),
    "a query of 15000 fields": get(b"/containers/json?" + b"a=1&" * 15_000),
    "a number of 10^4 digits in a query": get(b"/containers/json?limit=" + b"9" * 10_000),
    "a head of 100 KB": get(b"/_ping", b"X: " + b"a" * 100_000),
    "20000 headers": get(b"/_ping", *[b"X: y"] * 20_000),
    "a version of the future": get(b"/v99999.99999/_ping"),
    "a method of its own": b"BREW" + get(b"/_ping")[3:],
    "a method of 30 KB": b"A" * 30_000 + get(b"/_ping")[3:],
    "CONNECT": b"CONNECT docker:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "TRACE": b"TRACE" + get(b"/_ping")[3:],
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "another scheme": get(b"ftp://docker/_ping"),
    "no Host": b"GET /_ping HTTP/1.1\r\n\r\n",
    "two Hosts": get(b"/_ping", b"Host: other"),
    "bare LF": b"GET /_ping HTTP/1.1\nHost: docker\n\n",
    "a folded header": get(b"/_ping", b"X: a", b" b"),
    "two lengths": post(b"/containers/prune", b"Content-Length: 1", b"Content-Length: 2"),
    "length and chunks": post(b"/containers/prune", b"Content-Length: 1", b"Transfer-Encoding: chunked"),
    "chunks twice": post(b"/containers/prune", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "a coding that is none": post(b"/containers/prune", b"Transfer-Encoding: gzip"),
    "a chunk of no size": post(b"/containers/create", JSON[:-2], b"Transfer-Encoding: chunked") + b"x\r\n",
    "a chunk's extension of 100 KB": post(b"/containers/create", JSON[:-2], b"Transfer-Encoding: chunked")
    + b"1;" + b"x" * 100_000 + b"\r\na\r\n0\r\n\r\n",
    "trailers of 100 KB": post(b"/containers/create", JSON[:-2], b"Transfer-Encoding: chunked")
    + b"1\r\n{\r\n0\r\n" + b"X: y\r\n" * 17_000 + b"\r\n",
    "an expectation of its own": post(b"/containers/create", b"Expect: the-worst", b"Content-Length: 0"),
    "credentials that are none": post(b"/images/create?fromImage=x%3Ay", b"X-Registry-Auth: " + b"W" * 60_000),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
async def test_a_malformed_request_is_refused_with_a_message(door: Daemon, what: str) -> None:
    client = await connect(door.socket)
    client.writer.write(REFUSED[what])
    status, headers, body = await asyncio.wait_for(client.answer(), 30)
    assert 400 <= status < 500, body
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["message"].isprintable()
    assert len(body) < 1000
    assert await serves(door)
    await client.close()


@pytest.mark.parametrize(
    ("framing", "piece"),
    [
        (b"Content-Length: %d" % (1024 * MIB), bytes(65536)),
        (b"Transfer-Encoding: chunked", b"10000\r\n" + b" " * 65536 + b"\r\n"),
    ],
)
def test_a_document_of_a_gigabyte_is_refused_however_it_comes(door: Daemon, framing: bytes, piece: bytes) -> None:
    sent = 0
    with contextlib.closing(plug(door)) as connection:
        connection.sendall(post(b"/containers/create", JSON[:-2], framing))
        with pytest.raises(ConnectionError):  # the daemon does not read it all
            while sent < 1024 * MIB:
                connection.sendall(piece)
                sent += len(piece)
        assert b" 413 " in connection.recv(100)  # the answer is there all the same
    assert sent < 64 * MIB
    assert resident(door) < 120 * MIB
    assert door.call("GET", "/_ping")[0] == 200


async def test_many_bodies_that_stop_short_of_their_end_take_little_memory(door: Daemon) -> None:
    loop = asyncio.get_running_loop()
    body = create(b" " * (4 * MIB))[:-1]

    async def send(connection: socket.socket) -> bytes:
        with contextlib.suppress(ConnectionError):  # refused while we send: the answer is there all the same
            await loop.sock_sendall(connection, body)
        return await loop.sock_recv(connection, 4096)

    begun = [plug(door) for _ in range(60)]
    for connection in begun:
        connection.setblocking(False)
    pending = {asyncio.create_task(send(connection)) for connection in begun}
    refused: set[asyncio.Task[bytes]] = set()
    while len(refused) < 40:  # what there is room for waits for its last byte
        done, pending = await asyncio.wait(pending, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert done
        refused |= done
    assert {task.result().split()[1] for task in refused} == {b"429"}
    assert resident(door) < 250 * MIB
    assert await serves(door)
    for task in pending:
        task.cancel()
    for connection in begun:
        connection.close()


async def test_a_crowd_that_says_nothing_keeps_nobody_out(door: Daemon) -> None:
    crowd = [plug(door) for _ in range(4200)]  # more than the daemon holds
    beginnings = (b"", b"GET /_pi", post(b"/containers/create", JSON[:-2], b"Content-Length: 9"))
    for number, connection in enumerate(crowd):
        with contextlib.suppress(ConnectionError):
            connection.send(beginnings[number % 3])
    for _ in range(20):
        assert await serves(door)
    assert resident(door) < 250 * MIB
    for connection in crowd:
        connection.close()


async def test_five_hundred_attach_at_once_and_each_has_all(door: Daemon, client: Client, make: Make) -> None:
    name = await make("cat", start=True, OpenStdin=True, Tty=True)
    path = f"/containers/{name}/attach?stream=1&stdin=1&stdout=1"
    attached = [await upgrade(door, path) for _ in range(500)]
    await attached[0].send(b"hello everybody\n")
    for each in attached:
        assert await asyncio.wait_for(each.reader.readuntil(b"hello everybody"), 60)
    # All but the last leave in every way there is: half, at once, and with bytes that nobody reads.
    for number, each in enumerate(attached[:-1]):
        if number % 3 == 0:
            each.writer.write_eof()
        elif number % 3 == 1:
            each.writer.transport.abort()
    await attached[-1].send(b"still here\n")
    assert await asyncio.wait_for(attached[-1].reader.readuntil(b"still here"), 60)
    assert resident(door) < 250 * MIB
    assert await serves(door)
    for each in attached:
        await each.close()


async def test_a_request_behind_an_upgrade_is_input_and_no_request(door: Daemon, client: Client, make: Make) -> None:
    name = await make("cat", start=True, OpenStdin=True, Tty=True)
    request = get(b"/containers/json")
    stream = await connect(door.socket)
    path = f"/containers/{name}/attach?stream=1&stdin=1&stdout=1".encode()
    await stream.send(post(path, b"Connection: Upgrade", b"Upgrade: tcp") + request)
    assert (await stream.head())[0] == 101
    assert b"GET /containers/json HTTP/1.1" in await asyncio.wait_for(stream.reader.readuntil(b"docker"), 30)
    await stream.close()


async def test_the_engine_as_a_whole_may_be_asked_for_its_options(door: Daemon) -> None:
    client = await connect(door.socket)
    await client.send(b"OPTIONS * HTTP/1.1\r\nHost: docker\r\n\r\n")
    assert (await client.answer())[0] == 200
    await client.close()


async def test_the_daemon_says_nothing_of_all_this_in_its_log(door: Daemon) -> None:
    assert "Traceback" not in door.log.read_text()
