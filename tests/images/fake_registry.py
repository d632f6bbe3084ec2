# SPDX-License-Identifier: Apache-2.0
"""A registry on loopback that misbehaves as it is told, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.support.images import Image, Index, sha256


@dataclass
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def answer(
    writer: asyncio.StreamWriter, status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None
) -> None:
    """A whole response; a header given as "" is left out."""
    fields = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    writer.write(f"HTTP/1.1 {status} x\r\n{lines}\r\n".encode() + body)


@dataclass
class FakeRegistry:
    """Use as an async context manager. `on` replaces the answer to a path (without query)."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    documents: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """Path -> (body, content type)."""
    requests: list[Request] = field(default_factory=list)
    address: str = "127.0.0.1"
    port: int = 0
    _server: asyncio.Server | None = None

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    async def __aenter__(self) -> FakeRegistry:
        self._server = await asyncio.start_server(self._serve, self.address, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    def put(self, repository: str, tag: str, image: Image | Index) -> str:
        """Offer *image*; returns its name for a pull."""
        for part in image.images if isinstance(image, Index) else [image]:
            self._manifest(repository, sha256(part.manifest), part)
            for digest, blob in part.blobs.items():
                self.documents[f"/v2/{repository}/blobs/{digest}"] = blob, "application/octet-stream"
        self._manifest(repository, tag, image)
        self._manifest(repository, sha256(image.manifest), image)
        return f"{self.host}/{repository}:{tag}"

    def _manifest(self, repository: str, reference: str, image: Image | Index) -> None:
        self.documents[f"/v2/{repository}/manifests/{reference}"] = image.manifest, image.media_type

    def on(self, path: str, handler: Handler) -> None:
        self.handlers[path] = handler

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read(reader)
            if request is not None:
                self.requests.append(request)
                await self.handlers.get(request.path, self.usual)(request, writer)
                await writer.drain()
        writer.close()

    async def usual(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path not in self.documents:
            body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
            return answer(writer, 404, body)
        body, content_type = self.documents[request.path]
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        headers = {"Content-Type": content_type}
        if match:
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return answer(writer, 206, body[start:], headers)
        return answer(writer, 200, body, headers)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    first = await reader.readline()
    if not re.match(rb"(GET|POST|HEAD|PUT|PATCH|DELETE) ", first):
        return None  # a TLS greeting, for one
    method, target, _ = first.decode().split(" ", 2)
    headers = {}
    while line := (await reader.readline()).decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await _body(reader, headers)
    parts = urlsplit(target)
    return Request(method, unquote(parts.path), parts.query, headers, body)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
