# SPDX-License-Identifier: Apache-2.0
"""What a handler is given and what it returns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl

from hypercell.api.http.channel import Peer
from hypercell.base.errors import InvalidArgument

A = TypeVar("A")
Version = tuple[int, ...]
Headers = tuple[tuple[str, str], ...]
MAX_QUERY_FIELDS = 256


class Query:
    """The fields of a query string; the first of a repeated one counts, except in `all`."""

    __slots__ = ("_fields",)

    def __init__(self, text: str) -> None:
        if ";" in text:
            # Some take it for a separator, as it once was.
            raise InvalidArgument("malformed query string: invalid semicolon separator")
        try:
            self._fields = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS, separator="&"
            )
        except ValueError as error:
            raise InvalidArgument(f"malformed query string: {error}") from None

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self._fields)

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self._fields if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._fields if key == name]


class Body(Protocol):
    """The body of a request, as it comes."""

    length: int | None
    """Bytes, as announced; None when it is chunked."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, once. Raises `InvalidArgument` when it exceeds the route's limit or is malformed."""


class Request(Generic[A]):
    """A request whose head is complete. `app` is what the server was made for."""

    __slots__ = ("_headers", "_query", "app", "body", "method", "params", "path", "peer", "query_text", "version")

    def __init__(
        self,
        app: A,
        method: str,
        path: str,
        query: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: Body,
        peer: Peer | None = None,
    ) -> None:
        self.app = app
        self.method = method
        self.path = path
        """Decoded, without version prefix once routed."""
        self.version: Version = ()
        """Of the API, `(1, 51)`."""
        self.params: dict[str, str] = {}
        """What the route's placeholders matched."""
        self.body = body
        self.peer = peer
        self._headers = headers
        self.query_text = query
        """As it came."""
        self._query: Query | None = None

    @property
    def query(self) -> Query:
        if self._query is None:
            self._query = Query(self.query_text)
        return self._query

    def header(self, name: str) -> str:
        """The (first) value of header *name* (given in lower case), or an empty string."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self._headers if key == wanted), "")

    async def read(self) -> bytes:
        """The whole body; the route's limit bounds it."""
        return b"".join([chunk async for chunk in self.body.chunks()])


@dataclass(slots=True)
class Response:
    """A complete answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Headers = ()


@dataclass(slots=True)
class StreamResponse:
    """An answer whose head is sent at once and whose *body* follows, chunk by chunk, as fast as the client reads.
    An empty chunk is skipped. The iterator is closed when the client goes away."""

    body: AsyncIterator[bytes]
    status: int = 200
    content_type: str = ""
    headers: Headers = ()


class RawStream(Protocol):
    """The connection after a hijack: bytes both ways."""

    async def read(self) -> bytes:
        """b'' when the client sends no more (it may still read)."""

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more. Raises `ConnectionResetError`."""

    def when_gone(self, callback: Callable[[], object] | None) -> None: ...


@dataclass(slots=True)
class Hijack:
    """Take the connection over: it is answered with 101 (or 200 for a client that asked for no upgrade), then *run*
    has it until it returns, then it is closed."""

    run: Callable[[RawStream], Awaitable[None]]
    content_type: str = ""
    protocol: str = "tcp"
    headers: Headers = ()


Reply = Response | StreamResponse | Hijack
Handler = Callable[[Request[A]], Awaitable[Reply]]


def encode(value: Any) -> bytes:
    """JSON as Go's encoder writes it: compact, one line, newline at the end."""
    return (json.dumps(value, separators=(",", ":")) + "\n").encode()


def json_response(value: Any, status: int = 200, headers: Headers = ()) -> Response:
    return Response(status, encode(value), "application/json", headers)
