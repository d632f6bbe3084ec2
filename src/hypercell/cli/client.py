# SPDX-License-Identifier: Apache-2.0
"""The Engine API over a socket, with the standard library: a command must start in a few dozen milliseconds."""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

DEFAULT_HOST = "unix:///run/hypercell/hypercell.sock"
API = "/v1.51"

Query = Mapping[str, Any]


class ApiError(Exception):
    """The server refused (`status`), or could not be reached (`status` 0)."""

    def __init__(self, message: str, status: int = 0, code: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        """Of the program whose end it is."""

    @property
    def said(self) -> str:
        """The line for stderr: docker's for what the daemon answered, ours for what it did not."""
        return f"Error response from daemon: {self.message}" if self.status else f"hypercell: {self.message}"


def lost() -> ApiError:
    """For a daemon that went away in the middle of an answer."""
    return ApiError(
        "The connection to the daemon was lost. Containers go on without it: start it again with `hypercelld`, "
        "then type the command again."
    )


class _Connection(http.client.HTTPConnection):
    def __init__(self, opened: socket.socket) -> None:
        super().__init__("hypercell")
        self.sock = opened


class Client:
    """`host` is `unix:///path` or `tcp://127.0.0.1:port`; default $HYPERCELL_HOST, then the local daemon's socket."""

    def __init__(self, host: str | None = None) -> None:
        self.host = host or os.environ.get("HYPERCELL_HOST") or DEFAULT_HOST

    def connect(self) -> socket.socket:
        """A new connection. Raises `ApiError` that says how to start a daemon."""
        scheme, _, rest = self.host.partition("://")
        try:
            if scheme == "unix":
                opened = socket.socket(socket.AF_UNIX)
                opened.connect(rest)
                return opened
            if scheme == "tcp":
                address, _, port = rest.rpartition(":")
                return socket.create_connection((address.strip("[]"), int(port)))
        except PermissionError as error:
            raise ApiError(
                f"Permission denied at {self.host}. "
                "Become root, or a member of the group that the daemon's setting `group` names."
            ) from error
        except (OSError, ValueError) as error:
            raise ApiError(
                f"Cannot connect to the hypercell daemon at {self.host}. Is it running? "
                f"({getattr(error, 'strerror', None) or error}) Start it with `hypercelld`."
            ) from error
        raise ApiError(f"cannot speak to {self.host!r}: use unix:///path or tcp://address:port")

    def open(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        stream: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """Send a request; the answer's head. *body* is sent as JSON, *stream* as raw chunks. Raises `ApiError`."""
        connection = _Connection(self.connect())
        sent = dict(headers or {})
        payload: Any = stream
        if stream is None and body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, url(path, query), payload, sent, encode_chunked=stream is not None)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            # A server that refuses in the middle of a body has said why before it closed.
            try:
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException):
                raise lost() from error
        if answer.status >= 400:
            raise ApiError(_message(answer), answer.status)
        return answer

    def call(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Any:
        """The decoded JSON of the answer, None when it has no body."""
        answer = self.open(method, path, query, body)
        data = answer.read()
        return json.loads(data) if data else None

    def lines(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        stream: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Any]:
        """The JSON objects of a streamed answer as they come. An `errorDetail` among them raises `ApiError`."""
        for line in _split(self.open(method, path, query, stream=stream, headers=headers)):
            if line.strip():
                value = json.loads(line)
                if isinstance(value, dict) and "error" in value:
                    code = (value.get("errorDetail") or {}).get("code")
                    raise ApiError(str(value["error"]), 500, code if isinstance(code, int) else 0)
                yield value

    def hijack(self, path: str, query: Query | None = None, body: Any = None) -> tuple[socket.socket, bytes, bool]:
        """POST and take the connection over: (socket, bytes that came with the head, frames are multiplexed)."""
        opened = self.connect()
        payload = b"" if body is None else json.dumps(body).encode()
        head = (
            f"POST {url(path, query)} HTTP/1.1\r\nHost: hypercell\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        received = b""
        try:
            opened.sendall(head.encode() + payload)
            while b"\r\n\r\n" not in received:
                if not (chunk := opened.recv(65536)):
                    raise lost()
                received += chunk
        except OSError as error:
            raise lost() from error
        raw, _, rest = received.partition(b"\r\n\r\n")
        status = int(raw.split(b" ", 2)[1])
        if status not in (101, 200):
            opened.settimeout(2)
            try:
                while chunk := opened.recv(65536):
                    rest += chunk
                    if rest.rstrip().endswith(b"}"):
                        break
            except TimeoutError:
                pass
            raise ApiError(_text(rest[rest.find(b"{") :]), status)
        return opened, rest, b"multiplexed-stream" in raw


def url(path: str, query: Query | None = None) -> str:
    """The versioned path with its query; booleans as 1, empty values left out, lists and objects as JSON."""
    words = {}
    for key, value in (query or {}).items():
        if value is None or value is False or value == "" or value == {}:
            continue
        words[key] = json.dumps(value) if isinstance(value, dict) else "1" if value is True else value
    text = urllib.parse.urlencode(words, doseq=True)
    return f"{API}{path}?{text}" if text else f"{API}{path}"


def quote(name: str) -> str:
    """*name* as one element of a path (image names keep their slashes)."""
    return urllib.parse.quote(name, safe="/:@")


def _split(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of *answer*. Its own `readline` takes an answer that breaks off for one that has ended."""
    rest = b""
    while data := answer.read1(65536):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    yield rest


def _message(answer: http.client.HTTPResponse) -> str:
    return _text(answer.read()) or answer.reason


def _text(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace").strip()
