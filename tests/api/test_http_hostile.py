# SPDX-License-Identifier: Apache-2.0
"""The HTTP server with clients that mean harm (hostile-inputs C4, C6)."""

from __future__ import annotations

import asyncio

import pytest

from hypercell.api.http import UNLIMITED, Limits, Response

from .conftest import Site


@pytest.fixture
def echo(site: Site) -> list[bytes]:
    """A site with /echo (bodies of 1000 bytes at most) and /stream (any); returns the bodies that handlers saw."""
    seen: list[bytes] = []

    @site.route("POST", "/echo", max_body=1000)
    async def echo(request):
        seen.append(await request.read())
        return Response(200, seen[-1])

    @site.route("POST", "/stream", max_body=UNLIMITED)
    async def stream(request):
        return Response(200, b"not read")

    @site.route("GET", "/echo")
    async def get(request):
        return Response(200, b"got")

    return seen


async def still_serves(site: Site) -> bool:
    client = await site.connect()
    return await client.ask("GET", "/echo") == (200, b"got")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: 4, 5\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: -4\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length : 4\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding\x00: chunked\r\n",
        b"X: a\x00b\r\n",
        b"X: a\rb\r\n",
        b"Content-Length:\r\n 4\r\n",
        b"X: a\r\n\tb\r\n",
        b"X: a\nContent-Length: 4\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: ٤\r\n".encode(),
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
    ],
)
async def test_a_request_of_two_readings_is_refused(site: Site, echo: list[bytes], head: bytes) -> None:
    client = await site.connect()
    smuggled = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\n" + smuggled)
    status, headers, _ = await client.answer()
    assert status == 400
    assert headers["connection"] == "close"
    assert await client.reader.read() == b""
    assert echo == []


@pytest.mark.parametrize("size", [b"-1", b"+1", b"0x1", b" 1", b"g", b"f" * 30, b"1_0", b""])
async def test_a_chunk_of_a_strange_size_is_refused(site: Site, echo: list[bytes], size: bytes) -> None:
    client = await site.connect()
    await client.send(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\na\r\n0\r\n\r\n"
    )
    assert (await client.answer())[0] in (400, 413)
    assert echo == []
    assert await still_serves(site)


@pytest.mark.parametrize(
    "line",
    [
        b"GET echo HTTP/1.1",
        b"GET /ec ho HTTP/1.1",
        b"GET /%ff HTTP/1.1",
        b"GET /%00 HTTP/1.1",
        b"GET /echo HTTP/9.9",
        b"GET /echo",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"* * *",
        b"GET /%zz HTTP/1.1",
        b"GET /echo?a=%f HTTP/1.1",
        b"GET /echo HTTP/1.1\nX: y",
        b"CONNECT docker:80 HTTP/1.1",
        b"GET ftp://docker/echo HTTP/1.1",
        b"PRI * HTTP/2.0",
    ],
)
async def test_a_strange_request_line_is_refused(site: Site, echo: list[bytes], line: bytes) -> None:
    client = await site.connect()
    await client.send(line + b"\r\nHost: x\r\n\r\n")
    status, _, answer = await client.answer()
    assert status in (400, 404)
    assert b"bytearray" not in answer
    assert await still_serves(site)


async def test_a_body_of_a_gigabyte_is_refused_before_it_comes(site: Site, echo: list[bytes]) -> None:
    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
    status, headers, _ = await client.answer()
    assert (status, headers["connection"], echo) == (413, "close", [])


async def test_a_chunked_body_is_cut_off_at_the_limit(site: Site, echo: list[bytes]) -> None:
    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(11):
        await client.send(b"64\r\n" + bytes(100) + b"\r\n")
    assert (await client.answer())[0] == 413
    assert echo == []


async def test_no_100_continue_for_a_body_that_is_too_large(site: Site, echo: list[bytes]) -> None:
    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n")
    assert (await client.answer())[0] == 413


async def test_a_body_that_nobody_read_is_not_taken_for_a_request(site: Site, echo: list[bytes]) -> None:
    client = await site.connect()
    smuggled = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
    await client.send(b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled)
    assert (await client.answer())[2] == b"not read"
    assert await client.ask("GET", "/echo") == (200, b"got")
    assert echo == []


async def test_an_endless_head_is_refused(site: Site, echo: list[bytes]) -> None:
    site.limits = Limits(head_bytes=4096)
    client = await site.connect()
    await client.send(b"GET /echo HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(1000)))
    assert (await client.answer())[0] == 431
    assert await still_serves(site)


async def test_a_head_that_comes_whole_is_bounded_too(site: Site, echo: list[bytes]) -> None:
    site.limits = Limits(head_bytes=4096)
    client = await site.connect()
    await client.send(b"GET /echo HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 4096 + b"\r\n\r\n")
    assert (await client.answer())[0] == 431
    assert await still_serves(site)


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\n\n", b"0;x=\r\n\r\n", b"0\r\nHost: y\r\n\r\n", b"0\r\nX: y\n\n"])
async def test_nothing_behind_a_chunked_body_is_a_request(site: Site, echo: list[bytes], end: bytes) -> None:
    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    await client.send(end + b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsmuggled")
    status, headers, answer = await client.answer()
    assert (status, answer, headers["connection"]) == (200, b"a", "close")
    assert await client.reader.read() == b""
    assert echo == [b"a"]


async def test_a_request_of_http_1_0_has_no_chunks(site: Site, echo: list[bytes]) -> None:
    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
    assert (await client.answer())[0] == 400
    assert echo == []


async def test_an_expectation_that_nobody_knows_is_refused(site: Site, echo: list[bytes]) -> None:
    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\nx")
    assert (await client.answer())[0] == 417
    assert echo == []


async def test_a_query_of_two_readings_is_refused(site: Site) -> None:
    @site.route("GET", "/ask")
    async def ask(request):
        return Response(200, request.query.get("all").encode())

    client = await site.connect()
    assert (await client.ask("GET", "/ask?all=0;all=1"))[0] == 400
    assert await client.ask("GET", "/ask?all=0%3Ball=1") == (200, b"0;all=1")


async def test_bodies_that_are_kept_share_one_budget_and_small_ones_are_free(site: Site) -> None:
    @site.route("POST", "/keep", max_body=1 << 20)
    async def keep(request):
        return Response(200, b"%d" % len(await request.read()))

    site.limits = Limits(body_bytes=300 * 1024)
    greedy = await site.connect()
    await greedy.send(b"POST /keep HTTP/1.1\r\nHost: x\r\nContent-Length: 262145\r\n\r\n" + bytes(262144))
    late = await site.connect()
    # Until the server has read what the greedy one sent, there is room.
    while (answer := await late.ask("POST", "/keep", bytes(262144)))[0] == 200:
        late = await site.connect()
    assert (answer[0], "too much is sent" in answer[1]["message"]) == (429, True)
    small = await site.connect()
    assert await small.ask("POST", "/keep", bytes(65536)) == (200, b"65536")
    await greedy.send(b"x")
    assert (await greedy.answer())[2] == b"262145"
    assert await small.ask("POST", "/keep", bytes(262144)) == (200, b"262144")


async def test_a_head_that_drips_is_cut_off(site: Site, echo: list[bytes]) -> None:
    site.limits = Limits(head_seconds=0.2)
    client = await site.connect()
    with pytest.raises(ConnectionError):
        for byte in b"GET /echo HTTP/1.1\r\nHost: " + b"x" * 1000:
            await client.send(bytes([byte]))
            await asyncio.sleep(0.02)
    assert await still_serves(site)


async def test_a_connection_that_says_nothing_is_closed(site: Site, echo: list[bytes]) -> None:
    site.limits = Limits(head_seconds=0.1, idle_seconds=0.1)
    client = await site.connect()
    assert await asyncio.wait_for(client.reader.read(), 5) == b""
    client = await site.connect()
    assert await client.ask("GET", "/echo") == (200, b"got")
    assert await asyncio.wait_for(client.reader.read(), 5) == b""


async def test_a_body_that_stops_coming_is_given_up(site: Site, echo: list[bytes]) -> None:
    site.limits = Limits(body_seconds=0.1)
    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    with pytest.raises(ConnectionError):
        while await asyncio.wait_for(client.reader.read(), 5):
            pass
        raise ConnectionResetError
    assert echo == []


async def test_a_body_that_drips_is_given_up_and_one_that_is_streamed_may_take_its_time(site: Site) -> None:
    @site.route("POST", "/keep", max_body=1000)
    async def keep(request):
        return Response(200, await request.read())

    @site.route("POST", "/pass", max_body=UNLIMITED)
    async def passed(request):
        return Response(200, await request.read())

    site.limits = Limits(body_seconds=1)
    client = await site.connect()
    await client.send(b"POST /pass HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    for _ in range(10):
        await client.send(b"x")
        await asyncio.sleep(0.15)
    assert (await client.answer())[2] == b"x" * 10
    await client.send(b"POST /keep HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    with pytest.raises(ConnectionError):
        for _ in range(1000):
            await client.send(b"x")
            await asyncio.sleep(0.05)


async def test_at_the_limit_who_has_been_silent_longest_makes_room(site: Site, echo: list[bytes]) -> None:
    site.limits = Limits(connections=3)
    first = await site.connect()
    await first.send(b"GET /echo HT")
    second, third = await site.connect(), await site.connect()
    assert await second.ask("GET", "/echo") == (200, b"got")
    assert await third.ask("GET", "/echo") == (200, b"got")
    newest = await site.connect()
    assert await newest.ask("GET", "/echo") == (200, b"got")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await first.answer()
    assert await second.ask("GET", "/echo") == (200, b"got")
    assert await third.ask("GET", "/echo") == (200, b"got")


async def test_connections_that_are_being_answered_are_not_ended_for_others(site: Site, echo: list[bytes]) -> None:
    answer = asyncio.Event()
    began = asyncio.Queue[None]()

    @site.route("GET", "/slow")
    async def slow(request):
        began.put_nowait(None)
        await answer.wait()
        return Response(200, b"done")

    site.limits = Limits(connections=2)
    clients = [await site.connect(), await site.connect()]
    for client in clients:
        await client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await began.get()
    third = await site.connect()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await third.ask("GET", "/echo")
    answer.set()
    assert [(await client.answer())[2] for client in clients] == [b"done", b"done"]


@pytest.mark.parametrize(
    "header",
    [
        b"Origin: http://evil.example",
        b"Origin: null",
        b"Origin: https://localhost.evil.example",
        b"Origin: file://",
        b"Origin: http://127.0.0.1.evil.example",
        b"Sec-Fetch-Site: cross-site",
        b"Sec-Fetch-Site: same-site",
    ],
)
async def test_a_web_page_is_refused(site: Site, echo: list[bytes], header: bytes) -> None:
    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: docker\r\nContent-Length: 1\r\n" + header + b"\r\n\r\nx")
    assert (await client.answer())[0] == 403
    assert echo == []


@pytest.mark.parametrize("origin", [b"http://localhost:2375", b"http://127.0.0.1", b"http://[::1]:1"])
async def test_a_local_origin_is_served(site: Site, echo: list[bytes], origin: bytes) -> None:
    client = await site.connect()
    await client.send(b"GET /echo HTTP/1.1\r\nHost: docker\r\nOrigin: " + origin + b"\r\n\r\n")
    assert (await client.answer())[0] == 200


async def test_a_handler_that_fails_tells_the_client_nothing_of_the_inside(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    @site.route("GET", "/bug")
    async def bug(request):
        raise ValueError("the secret")

    client = await site.connect()
    status, answer = await client.ask("GET", "/bug")
    assert status == 500
    assert "secret" not in answer["message"]
    assert "the secret" in caplog.text
