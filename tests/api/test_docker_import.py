# SPDX-License-Identifier: Apache-2.0
"""Imports of a URL through the Engine API: what a web server has becomes an image, and what it refuses an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.images.fake_registry import FakeRegistry, Handler, Request, answer

from .conftest import Client
from .door import root_tar


@pytest.fixture
async def web() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as server:
        server.documents["/root.tar"] = (root_tar(), "application/x-tar")
        yield server


def answering(*response: object) -> Handler:
    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, *response)  # type: ignore[arg-type]

    return handler


@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_what_a_server_has_becomes_an_image(client: Client, web: FakeRegistry, scheme: str) -> None:
    path = f"/images/create?fromSrc={scheme}{web.host}/root.tar&repo=from-web&tag=1&changes=CMD%20cat"
    status, lines = await client.ask("POST", path)
    assert status == 200
    assert lines[0] == {"status": f"Downloading from http://{web.host}/root.tar"}
    size = len(root_tar())
    assert lines[1] == {"status": "Importing", "progressDetail": {"current": size, "total": size}}
    _, image = await client.ask("GET", "/images/from-web:1/json")
    assert lines[-1] == {"status": image["Id"]}
    assert image["Comment"] == f"Imported from {scheme}{web.host}/root.tar"
    assert image["Config"]["Cmd"] == ["/bin/sh", "-c", "cat"]


@pytest.mark.parametrize(
    ("code", "status"), [(404, 404), (400, 400), (401, 401), (403, 403), (410, 500), (500, 500), (503, 500)]
)
async def test_a_refusal_is_the_servers_in_dockerds_words(
    client: Client, web: FakeRegistry, code: int, status: int
) -> None:
    web.on("/x", answering(code, b"not\x1btoday"))
    answered, error = await client.ask("POST", f"/images/create?fromSrc=http://{web.host}/x")
    assert answered == status
    assert error["message"].startswith(f"failed to GET http://{web.host}/x with status {code} ")
    assert error["message"].endswith(": not today")


async def test_redirects_are_followed_to_web_servers_alone(client: Client, web: FakeRegistry) -> None:
    web.on("/1", answering(302, b"", {"Location": "/root.tar"}))
    status, lines = await client.ask("POST", f"/images/create?fromSrc=http://{web.host}/1")
    assert status == 200 and lines[0]["status"].endswith("/root.tar")
    for place in ("file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "/1 2", "http://[::1"):
        web.on("/2", answering(302, b"", {"Location": place}))
        assert (await client.ask("POST", f"/images/create?fromSrc=http://{web.host}/2"))[0] == 500
    web.on("/3", answering(302, b"", {"Location": "/3"}))
    status, error = await client.ask("POST", f"/images/create?fromSrc=http://{web.host}/3")
    assert (status, len(web.asked("/3"))) == (500, 11) and "stopped after 10 redirects" in error["message"]


@pytest.mark.parametrize(
    "source", ["ftp://x/y", "http://", "http://x:99999/", "http://x/a%0Ab%20c", "file:///etc/passwd"]
)
async def test_what_is_no_url_of_a_web_server_is_refused(client: Client, source: str) -> None:
    assert (await client.ask("POST", f"/images/create?fromSrc={source}"))[0] == 400


async def test_a_server_that_is_not_there_is_an_error_of_its_own(client: Client) -> None:
    status, error = await client.ask("POST", "/images/create?fromSrc=http://user:secret@127.0.0.1:1/x")
    assert status == 500
    assert error["message"].startswith('Get "http://user:xxxxx@127.0.0.1:1/x": ')


async def test_a_wrong_name_is_refused_before_anything_is_fetched(client: Client, web: FakeRegistry) -> None:
    for wrong in ("repo=UPPER", "repo=a&tag=a%20b", "platform=a/b/c/d"):
        assert (await client.ask("POST", f"/images/create?fromSrc=http://{web.host}/root.tar&{wrong}"))[0] == 400
    assert not web.requests


@pytest.mark.parametrize(
    "break_off", [lambda data: data[:100], lambda data: b"no tar at all" * 100], ids=["short", "no-tar"]
)
async def test_what_is_no_whole_archive_leaves_no_image(
    client: Client, web: FakeRegistry, break_off: Callable[[bytes], bytes]
) -> None:
    _, before = await client.ask("GET", "/images/json?all=1")
    data = break_off(root_tar())
    length = len(root_tar()) if len(data) == 100 else len(data)
    web.on("/broken", answering(200, data, {"Content-Length": str(length)}))
    status, lines = await client.ask("POST", f"/images/create?fromSrc=http://{web.host}/broken")
    assert status == 200 and lines[-1]["error"]
    assert (await client.ask("GET", "/images/json?all=1"))[1] == before
