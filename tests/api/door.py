# SPDX-License-Identifier: Apache-2.0
"""The Engine API spoken raw, at a daemon whose guests are fake: fixtures (see conftest) and helpers."""

from __future__ import annotations

import io
import itertools
import struct
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon, running
from tests.support.described import Document

from .conftest import Client, connect

IMAGE = "fake:test"
# No name is a prefix of another name or of an id: filters and look-ups take prefixes of both.
names = (f"n{number}x" for number in itertools.count())
Make = Callable[..., Awaitable[str]]


def root_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("etc/marker")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"hi"))
    return out.getvalue()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("door") / "d", driver="fake") as daemon:
        yield daemon


@pytest.fixture(scope="session")
def document() -> Document:
    """Every request and answer of `client` is in it."""
    return Document()


@pytest.fixture
async def client(door: Daemon, document: Document) -> AsyncIterator[Client]:
    connection = await connect(door.socket)
    connection.document = document
    status, images = await connection.ask("GET", "/images/json")
    if not images:
        status, answer = await connection.ask(
            "POST",
            "/images/create?fromSrc=-&repo=fake&tag=test&changes=CMD%20%5B%22cat%22%5D",
            root_tar(),
            {"X-Kind": "tar"},
        )
        assert status == 200, answer
    yield connection
    await connection.close()


@pytest.fixture
async def make(client: Client) -> AsyncIterator[Make]:
    """Make a container that is removed after the test; its name."""
    made: list[str] = []

    async def create(*command: str, start: bool = False, host: dict[str, Any] | None = None, **config: Any) -> str:
        name = next(names)
        body = {"Image": IMAGE, "HostConfig": host or {}, **({"Cmd": list(command)} if command else {}), **config}
        status, answer = await client.ask("POST", f"/containers/create?name={name}", body)
        assert status == 201, answer
        made.append(answer["Id"])
        if start:
            status, answer = await client.ask("POST", f"/containers/{name}/start")
            assert status == 204, answer
        return name

    yield create
    for container in made:
        await client.ask("DELETE", f"/containers/{container}?force=1")


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        stream, size = struct.unpack(">BxxxI", data[:8])
        found.append((stream, data[8 : 8 + size]))
        data = data[8 + size :]
    return found


def joined(data: bytes, stream: int) -> bytes:
    return b"".join(piece for kind, piece in frames(data) if kind == stream)


async def upgrade(door: Daemon, path: str, body: bytes = b"", tcp: bool = True) -> Client:
    """A hijacked connection, its head read."""
    connection = await connect(door.socket)
    lines = [f"POST {path} HTTP/1.1", "Host: docker", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json"] if body else []
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if tcp else []
    await connection.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    status, headers = await connection.head()
    assert status == (101 if tcp else 200), headers
    connection.headers = headers  # type: ignore[attr-defined]
    return connection


# The engine
