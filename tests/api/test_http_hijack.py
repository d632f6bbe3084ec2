# SPDX-License-Identifier: Apache-2.0
"""Hijacked connections: upgrade and docker's older form, half-closes, clients that vanish."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hypercell.api.http import Hijack, hijack

from .conftest import Site

UPGRADE = b"POST /attach HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
PLAIN = b"POST /attach HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def ended(site: Site) -> asyncio.Event:
    """A site whose /attach shouts back; at the end of input it says `bye`. Set when the handler has ended."""
    over = asyncio.Event()

    @site.route("POST", "/attach")
    async def attach(request):
        async def run(stream):
            try:
                while data := await stream.read():
                    await stream.write(data.upper())
                await stream.write(b"bye")
                if request.query.get("stay"):
                    await asyncio.Event().wait()
            finally:
                over.set()

        return Hijack(run, "application/vnd.docker.raw-stream")

    return over


async def test_an_upgrade_is_answered_101_and_the_stream_begins(site: Site, ended: asyncio.Event) -> None:
    client = await site.connect()
    await client.send(UPGRADE)
    status, headers = await client.head()
    assert (status, headers["upgrade"], headers["connection"]) == (101, "tcp", "Upgrade")
    assert headers["content-type"] == "application/vnd.docker.raw-stream"
    await client.send(b"hello")
    assert await client.reader.readexactly(5) == b"HELLO"


async def test_a_client_that_asks_for_no_upgrade_gets_200_and_the_raw_stream(site: Site, ended: asyncio.Event) -> None:
    client = await site.connect()
    await client.send(PLAIN)
    status, headers = await client.head()
    assert status == 200
    assert "transfer-encoding" not in headers
    assert "content-length" not in headers
    await client.send(b"hello")
    assert await client.reader.readexactly(5) == b"HELLO"


@pytest.mark.parametrize("head", [UPGRADE, PLAIN])
async def test_bytes_behind_the_request_are_the_streams(site: Site, ended: asyncio.Event, head: bytes) -> None:
    client = await site.connect()
    await client.send(head + b"GET / HTTP/1.1\r\n\r\n")
    await client.head()
    assert await client.reader.readexactly(18) == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("head", [UPGRADE, PLAIN])
async def test_what_reads_the_head_in_large_pieces_loses_nothing_of_the_stream(site: Site, head: bytes) -> None:
    """docker-py takes the connection from below a buffer, and leaves in it what came along with the head."""
    about_to_write = asyncio.Event()

    @site.route("POST", "/attach")
    async def attach(request):
        async def run(stream):
            about_to_write.set()
            await stream.write(b"quick words")

        return Hijack(run, "application/vnd.docker.raw-stream")

    await site.connect()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(site.path))
        connection.sendall(head)
        await asyncio.wait_for(about_to_write.wait(), 5)
        for _ in range(10):
            await asyncio.sleep(0)  # the handler goes as far as it can
        assert connection.recv(65536).endswith(b"\r\n\r\n"), "the head alone"
        connection.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(connection, 65536) == b"quick words"


async def test_a_client_that_never_reads_the_head_holds_up_nobody_for_long(
    site: Site, ended: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hijack, "_PATIENCE", 0.01)
    await site.connect()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(site.path))
        connection.sendall(UPGRADE)
        connection.shutdown(socket.SHUT_WR)
        await asyncio.wait_for(ended.wait(), 5)
        assert connection.recv(65536).endswith(b"bye")


@pytest.mark.parametrize("head", [UPGRADE, PLAIN])
async def test_the_end_of_input_is_not_the_end_of_output(site: Site, ended: asyncio.Event, head: bytes) -> None:
    client = await site.connect()
    await client.send(head)
    await client.head()
    await client.send(b"last words")
    client.writer.write_eof()
    assert await client.reader.read() == b"LAST WORDSbye"
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_client_that_vanishes_ends_the_stream(site: Site, ended: asyncio.Event) -> None:
    client = await site.connect()
    await client.send(UPGRADE)
    await client.head()
    await client.close()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_client_that_vanishes_after_a_half_close_ends_the_stream(site: Site, ended: asyncio.Event) -> None:
    client = await site.connect()
    await client.send(UPGRADE.replace(b"/attach", b"/attach?stay=1"))
    await client.head()
    client.writer.write_eof()
    assert await client.reader.readexactly(3) == b"bye"
    assert not ended.is_set()
    await client.close()
    await asyncio.wait_for(ended.wait(), 5)


async def test_five_hundred_half_open_hijacks_leave_the_server_serving(site: Site, ended: asyncio.Event) -> None:
    for _ in range(500):
        client = await site.connect()
        await client.send(UPGRADE)
        client.writer.write_eof()
    client = await site.connect()
    await client.send(UPGRADE + b"still there")
    await client.head()
    assert await client.reader.readexactly(11) == b"STILL THERE"
