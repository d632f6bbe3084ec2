# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hypercell.api.http import Limits, Request, Response, Route, Router, Server, json_response
from hypercell.base.errors import HypercellError, NotFound
from tests.support.described import Document


class Client:
    """A raw socket to a server, for saying what no HTTP library would say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.document: Document | None = None
        """What `ask` holds requests and answers to."""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines[1:] if line]
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        if status in (204, 304) or status < 200:
            return status, headers, b""
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await self.reader.readline()).strip(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return status, headers, body
        return status, headers, await self.reader.read()

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send a request; the answer's status and its body, decoded if it is JSON."""
        lines = [f"{method} {path} HTTP/1.1", "Host: docker"]
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + data)
        status, answered, content = await self.answer()
        if self.document is not None:
            self.document.check(method, path, data, status, answered.get("content-type", ""), content)
        if answered.get("content-type", "").startswith("application/json"):
            documents = [json.loads(line) for line in content.splitlines() if line]
            return status, documents[0] if len(documents) == 1 else documents
        return status, content

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def connect(path: Path) -> Client:
    return Client(*await asyncio.open_unix_connection(str(path)))


def explain(request: Request[Any] | None, error: HypercellError) -> Response:
    return json_response({"message": error.message}, error.status)


class Site:
    """A server with the routes of one test, and clients of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.routes: list[Route[None]] = []
        self.server: Server[None] | None = None
        self.limits = Limits()
        self._clients: list[Client] = []

    def route(self, method: str, pattern: str, **options: Any) -> Callable[[Any], Any]:
        def register(handler: Callable[[Request[None]], Awaitable[Any]]) -> Any:
            self.routes.append(Route(method, pattern, handler, **options))
            return handler

        return register

    async def connect(self) -> Client:
        if self.server is None:
            router = Router(self.routes)

            def find(request: Request[None]) -> tuple[Route[None], dict[str, str]]:
                found = router.find(request.method, request.path)
                if found is None:
                    raise NotFound("page not found")
                return found

            self.server = Server(None, find, explain, limits=self.limits)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.path))
            await self.server.listen(listener)
        connected = await connect(self.path)
        self._clients.append(connected)
        return connected

    async def close(self) -> None:
        for connected in self._clients:
            await connected.close()
        if self.server is not None:
            await self.server.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path / "s.sock")
    yield made
    await made.close()


# At the end: `door` builds on what is defined above.
from .door import client, document, door, make  # noqa: E402, F401
