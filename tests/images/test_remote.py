# SPDX-License-Identifier: Apache-2.0
"""What a web server may do to whoever fetches from it: nothing that has no end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from hypercell.base.errors import InvalidArgument
from hypercell.images import remote
from hypercell.images.contract import Progress
from hypercell.images.remote import FetchFailed, fetch, redacted
from tests.images.conftest import QUICK
from tests.images.fake_registry import FakeRegistry, Request, answer


async def everything(url: str) -> bytes:
    async with aclosing(fetch(url, lambda _: None, QUICK)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_a_body_is_told_as_it_comes() -> None:
    told: list[Progress] = []
    async with FakeRegistry() as server:
        server.documents["/x"] = (b"x" * 3_000_000, "text/plain")
        async with aclosing(fetch(f"http://{server.host}/x", told.append)) as chunks:
            assert sum([len(chunk) async for chunk in chunks]) == 3_000_000
    assert told[0] == Progress(f"Downloading from http://{server.host}/x")
    assert told[-1] == Progress("Importing", "", 3_000_000, 3_000_000)
    assert len(told) <= 5


async def test_a_server_that_falls_silent_is_given_up() -> None:
    released = asyncio.Event()

    async def silent(_: Request, writer: asyncio.StreamWriter) -> None:
        await released.wait()

    async def half(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await released.wait()

    async with FakeRegistry(handlers={"/silent": silent, "/half": half}) as server:
        for path in ("/silent", "/half"):
            with pytest.raises(FetchFailed):
                await everything(f"http://{server.host}{path}")
        released.set()


async def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_SECONDS", 0.0)
    async with FakeRegistry() as server:
        server.documents["/x"] = (b"x" * 100, "text/plain")
        with pytest.raises(FetchFailed, match="comes too slowly"):
            await everything(f"http://{server.host}/x")


async def test_more_than_a_layer_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 1000)

    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\n\r\n" + b"x" * 1001)

    async def announced(_: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 200, b"x", {"Content-Length": "1001"})

    async with FakeRegistry(handlers={"/endless": endless, "/announced": announced}) as server:
        for path in ("/endless", "/announced"):
            with pytest.raises(InvalidArgument, match="larger than"):
                await everything(f"http://{server.host}{path}")


def test_tls_is_not_left_for_a_redirect() -> None:
    assert remote._redirected("https://a/x", "https://b/y") == "https://b/y"
    assert remote._redirected("http://a/x", "https://b/y") == "https://b/y"
    with pytest.raises(FetchFailed, match="without TLS"):
        remote._redirected("https://a/x", "http://a/x")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a/b", "http://a/b"),
        ("http://user:secret@a/b:c@d", "http://user:xxxxx@a/b:c@d"),
        ("http://user@a", "http://user@a"),
        ("http://u:p:q@a:80/", "http://u:xxxxx@a:80/"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown
