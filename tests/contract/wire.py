# SPDX-License-Identifier: Apache-2.0
"""One request to an engine, one answer, with nothing hidden in between: hijacked connections and odd methods too."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    content: bytes


def request(path: Path, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> Answer:
    """Ask the engine at the socket *path*."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(path))
        lines = [f"{method} {target} HTTP/1.1", "Host: docker", *(f"{key}: {value}" for key, value in headers.items())]
        if "Connection" not in headers:
            lines.append("Connection: close")
        if body is not None or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body or b'')}")
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b""))
        with connection.makefile("rb") as stream:
            return _read(stream, method)


def hijack(path: Path, target: str, body: bytes, typed: bytes = b"", upgrade: bool = True) -> Answer:
    """Take a connection over, say *typed*, end the input, and read to the end."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(path))
        lines = [f"POST {target} HTTP/1.1", "Host: docker", f"Content-Length: {len(body)}"]
        lines += ["Content-Type: application/json"] if body else []
        lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        with connection.makefile("rb") as stream:
            status, headers = _head(stream)
            if status not in (101, 200):
                return Answer(status, headers, _content(stream, headers))
            if typed:
                connection.sendall(typed)
            connection.shutdown(socket.SHUT_WR)
            return Answer(status, headers, stream.read())


def _read(stream: BinaryIO, method: str) -> Answer:
    status, headers = _head(stream)
    nothing = method == "HEAD" or status in (204, 304)
    return Answer(status, headers, b"" if nothing else _content(stream, headers))


def _head(stream: BinaryIO) -> tuple[int, dict[str, str]]:
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return status, headers


def _content(stream: BinaryIO, headers: dict[str, str]) -> bytes:
    if "content-length" in headers:
        return stream.read(int(headers["content-length"]))
    if headers.get("transfer-encoding") != "chunked":
        return stream.read()
    content = b""
    while size := int(stream.readline().partition(b";")[0], 16):
        content += stream.read(size)
        stream.readline()
    stream.readline()
    return content
