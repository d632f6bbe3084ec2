# SPDX-License-Identifier: Apache-2.0
"""The DNS forwarder between a real resolver (dnspython) and an upstream that can be told to lie."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from hypercell.backends.network.dns import Forwarder, question, upstreams

T = TypeVar("T")
Respond = Callable[[bytes], list[bytes]]


def honest(query: bytes) -> list[bytes]:
    message = dns.message.from_wire(query)
    reply = dns.message.make_response(message)
    reply.answer.append(dns.rrset.from_text(message.question[0].name, 60, "IN", "A", "192.0.2.7"))
    return [reply.to_wire()]


class Upstream(asyncio.DatagramProtocol):
    port = 0

    def __init__(self) -> None:
        self.respond: Respond = honest
        self.seen = 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.seen += 1
        for reply in self.respond(data):
            self.transport.sendto(reply, addr)

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        for reply in self.respond(await reader.readexactly(length)):
            writer.write(struct.pack("!H", len(reply)) + reply)
        await writer.drain()
        writer.close()


async def on_a_free_port(listen: Callable[[], Awaitable[T]]) -> T:
    """What *listen* makes on one number for udp and tcp: the one that udp gives may be taken in tcp, so try again."""
    for _ in range(19):
        with contextlib.suppress(OSError):
            return await listen()
    return await listen()


async def listen_upstream() -> tuple[asyncio.DatagramTransport, Upstream, asyncio.Server]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
    protocol.port = transport.get_extra_info("sockname")[1]
    try:
        return transport, protocol, await asyncio.start_server(protocol.serve_tcp, "127.0.0.1", protocol.port)
    except OSError:
        transport.close()
        raise


async def started(upstream: Upstream) -> Forwarder:
    made = Forwarder("127.0.0.1", ("127.0.0.1",), port=0, upstream_port=upstream.port)
    await made.start()
    return made


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    transport, protocol, server = await on_a_free_port(listen_upstream)
    yield protocol
    transport.close()
    server.close()


@pytest.fixture
async def forwarder(upstream: Upstream) -> AsyncIterator[Forwarder]:
    made = await on_a_free_port(partial(started, upstream))
    yield made
    await made.close()


async def ask(forwarder: Forwarder, name: str = "example.org", tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, "A")
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, "127.0.0.1", port=forwarder.port, timeout=8)


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_name_resolves(forwarder: Forwarder, tcp: bool) -> None:
    reply = await ask(forwarder, tcp=tcp)
    assert "192.0.2.7" in reply.to_text()


async def test_answers_with_another_id_or_question_are_not_taken(forwarder: Forwarder, upstream: Upstream) -> None:
    def forge(query: bytes) -> list[bytes]:
        (good,) = honest(query)
        other = honest(dns.message.make_query("evil.example", "A").to_wire())[0]
        poisoned = good.replace(bytes([192, 0, 2, 7]), bytes([6, 6, 6, 6]))
        wrong_id = bytes([good[0] ^ 1]) + poisoned[1:]
        return [wrong_id, good[:2] + other[2:], b"", b"\0" * 5, query, good]

    upstream.respond = forge
    assert "192.0.2.7" in (await ask(forwarder)).to_text()


async def test_no_upstream_is_servfail_and_not_silence(forwarder: Forwarder) -> None:
    forwarder._servers = ()
    for tcp in (False, True):
        assert (await ask(forwarder, tcp=tcp)).rcode() == dns.rcode.SERVFAIL


async def test_the_next_upstream_is_asked_when_one_is_dead(forwarder: Forwarder) -> None:
    forwarder._servers = ("127.0.0.250", "127.0.0.1")
    assert "192.0.2.7" in (await ask(forwarder)).to_text()


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\0" * 11,
        b"\xff" * 12,
        b"\0\0\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",
        b"\0\0\1\0\0\2" + bytes(30),
        b"\0" * 4000,
    ],
)
async def test_junk_is_dropped_and_the_next_query_served(forwarder: Forwarder, upstream: Upstream, junk: bytes) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", forwarder.port)
    )
    transport.sendto(junk)
    await ask(forwarder)
    transport.close()
    assert upstream.seen == 1


def test_a_question_ends_where_it_says() -> None:
    wire = dns.message.make_query("a.b", "A").to_wire()
    assert question(wire) == b"\1a\1b\0\0\1\0\1"
    assert question(wire[:-1]) is None


def test_upstreams_are_the_settings_or_else_the_machines(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nnameserver 192.0.2.1\nnameserver nonsense\nsearch a\nnameserver ::1\n")
    assert upstreams(("1.2.3.4",), file) == ("1.2.3.4",)
    assert upstreams((), file) == ("192.0.2.1", "::1")
    assert upstreams((), tmp_path / "missing") == ()
