# SPDX-License-Identifier: Apache-2.0
"""The name server of a network: listens on the bridge's address, answers what the network itself knows, and forwards
the rest to the machine's own name servers.

What it forwards it relays as bytes, and looks only at what it must: the id, and the question, which an answer has to
repeat. Every query leaves from a socket of its own, so answers cannot be forged without guessing id and source port
(RFC 5452).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import struct
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_HEADER = struct.Struct("!HHHHHH")
_TIMEOUT = 2.0
_MAX_PENDING = 512
_SERVFAIL = 2


def upstreams(configured: tuple[str, ...], resolv_conf: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The name servers to ask: those of the settings, else the machine's."""
    if configured:
        return configured
    with contextlib.suppress(OSError, UnicodeDecodeError):
        words = [line.split() for line in resolv_conf.read_text().splitlines()]
        return tuple(word[1] for word in words if len(word) > 1 and word[0] == "nameserver" and _is_address(word[1]))
    return ()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def question(message: bytes) -> bytes | None:
    """The question section of *message* if it is a well-formed query or answer with one question, else None."""
    if len(message) < _HEADER.size or _HEADER.unpack_from(message)[2] != 1:
        return None
    at = _HEADER.size
    while at < len(message) and message[at]:
        if message[at] > 63:  # a pointer has no business in a question
            return None
        at += 1 + message[at]
    end = at + 5
    return message[_HEADER.size : end] if end <= len(message) else None


def failure(query: bytes) -> bytes:
    """SERVFAIL for *query*, whose question is well-formed."""
    identifier, flags, *_ = _HEADER.unpack_from(query)
    asked = question(query) or b""
    answer = 0x8080 | (flags & 0x7900) | _SERVFAIL
    return _HEADER.pack(identifier, answer, 1, 0, 0, 0) + asked


def answers(query: bytes, reply: bytes) -> bool:
    """True if *reply* is an answer to *query*: same id, QR set, same question (RFC 5452 section 9.1)."""
    if len(reply) < _HEADER.size or reply[:2] != query[:2] or not reply[2] & 0x80:
        return False
    asked, repeated = question(query), question(reply)
    return repeated is not None and asked is not None and asked.lower() == repeated.lower()


Known = Callable[[str, bytes], bytes | None]
"""The answer to a query of the client with this address; None: it has to be asked of others."""


def _nothing(client: str, query: bytes) -> bytes | None:
    return None


class _Client(asyncio.DatagramProtocol):
    def __init__(self, query: bytes) -> None:
        self.query = query
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.reply.done() and answers(self.query, data):
            self.reply.set_result(data)

    def error_received(self, exc: OSError) -> None:  # type: ignore[override]
        if not self.reply.done():
            self.reply.set_exception(exc)


class Forwarder(asyncio.DatagramProtocol):
    """Serve on (*address*, *port*), udp and tcp. `start`, then `close`."""

    def __init__(
        self, address: str, servers: tuple[str, ...], port: int = 53, upstream_port: int = 53, known: Known = _nothing
    ) -> None:
        self.address, self.port = address, port
        self._known = known
        self._servers, self._upstream_port = servers, upstream_port
        self._transport: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._pending: set[asyncio.Task[None]] = set()
        self._connections = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.address, self.port))
        self.port = self._transport.get_extra_info("sockname")[1]
        try:
            self._tcp = await asyncio.start_server(self._serve_tcp, self.address, self.port)
        except OSError:
            self._transport.close()
            raise

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in list(self._pending):
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if question(data) is None or data[2] & 0x80:
            return
        if (reply := self._known(addr[0], data)) is not None:
            self._send(reply, addr)
            return
        # Over the limit queries are dropped: a resolver asks again, and a flood costs us nothing.
        if len(self._pending) >= _MAX_PENDING:
            return
        task = asyncio.create_task(self._serve_udp(data, addr))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _serve_udp(self, query: bytes, client: tuple[str, int]) -> None:
        self._send(await self._ask_udp(query), client)

    def _send(self, reply: bytes, client: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, client)

    async def _ask_udp(self, query: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        for server in self._servers:
            with contextlib.suppress(OSError, TimeoutError):
                transport, client = await loop.create_datagram_endpoint(
                    lambda: _Client(query), remote_addr=(server, self._upstream_port)
                )
                try:
                    transport.sendto(query)
                    return await asyncio.wait_for(client.reply, _TIMEOUT)
                finally:
                    transport.close()
        return failure(query)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= _MAX_PENDING:
            writer.close()
            return
        self._connections += 1
        client = (writer.get_extra_info("peername") or ("",))[0]
        try:
            while query := await asyncio.wait_for(_read_message(reader), 10):
                if question(query) is None:
                    break
                reply = self._known(client, query) or await self._ask_tcp(query)
                writer.write(struct.pack("!H", len(reply)) + reply)
                await asyncio.wait_for(writer.drain(), 10)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections -= 1
            writer.close()

    async def _ask_tcp(self, query: bytes) -> bytes:
        for server in self._servers:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_TIMEOUT * 2):
                    reader, writer = await asyncio.open_connection(server, self._upstream_port)
                    try:
                        writer.write(struct.pack("!H", len(query)) + query)
                        reply = await _read_message(reader)
                    finally:
                        writer.close()
                if answers(query, reply):
                    return reply
        return failure(query)


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """One length-prefixed message (RFC 1035 section 4.2.2), b'' at the end."""
    try:
        head = await reader.readexactly(2)
    except asyncio.IncompleteReadError:
        return b""
    (length,) = struct.unpack("!H", head)
    return await reader.readexactly(length)
