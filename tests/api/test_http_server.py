# SPDX-License-Identifier: Apache-2.0
"""The HTTP server with well-behaved clients."""

from __future__ import annotations

import asyncio
import os

from hypercell.api.http import UNLIMITED, Response, StreamResponse, json_response

from .conftest import Site


async def test_a_connection_serves_request_after_request(site: Site) -> None:
    @site.route("GET", "/hello")
    async def hello(request):
        return Response(200, b"hello", "text/plain")

    client = await site.connect()
    for _ in range(3):
        assert await client.ask("GET", "/hello") == (200, b"hello")


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    @site.route("GET", "/item/{name}")
    async def item(request):
        return Response(200, request.params["name"].encode())

    client = await site.connect()
    await client.send(b"".join(b"GET /item/%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(5)))
    assert [(await client.answer())[2] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_head_is_answered_without_a_body(site: Site) -> None:
    @site.route("HEAD", "/ping")
    async def ping(request):
        return Response(200, b"OK", headers=(("X-Here", "yes"),))

    client = await site.connect()
    await client.send(b"HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\nHEAD /ping HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(2):
        status, headers = await client.head()
        assert (status, headers["x-here"]) == (200, "yes")


async def test_names_may_hold_slashes_and_are_decoded(site: Site) -> None:
    @site.route("GET", "/images/{name}/json")
    async def image(request):
        return json_response({"name": request.params["name"], "all": request.query.all("x")})

    client = await site.connect()
    status, answer = await client.ask("GET", "/images/localhost:5000/a%2Fb/json?x=1&x=%20")
    assert (status, answer) == (200, {"name": "localhost:5000/a/b", "all": ["1", " "]})


async def test_a_chunked_body_arrives_whole(site: Site) -> None:
    @site.route("POST", "/echo")
    async def echo(request):
        return Response(200, await request.read())

    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await asyncio.sleep(0)
    await client.send(b"2\r\nde\r\n0\r\n\r\n")
    assert (await client.answer())[2] == b"abcde"


async def test_a_client_that_waits_for_100_continue_gets_it(site: Site) -> None:
    @site.route("POST", "/echo")
    async def echo(request):
        return Response(200, await request.read())

    client = await site.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert (await client.head())[0] == 100
    await client.send(b"hi")
    assert (await client.answer())[2] == b"hi"


async def test_a_stream_is_sent_as_it_is_made(site: Site) -> None:
    go_on = asyncio.Event()

    @site.route("GET", "/stream")
    async def stream(request):
        async def body():
            yield b"first"
            await go_on.wait()
            yield b"second"

        return StreamResponse(body())

    client = await site.connect()
    await client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.head())[1]["transfer-encoding"] == "chunked"
    assert await client.reader.readuntil(b"first") == b"5\r\nfirst"
    go_on.set()
    assert await client.reader.readuntil(b"0\r\n\r\n") == b"\r\n6\r\nsecond\r\n0\r\n\r\n"


async def test_a_client_of_http_1_0_reads_to_the_end_of_the_connection(site: Site) -> None:
    @site.route("GET", "/stream")
    async def stream(request):
        async def body():
            yield b"all"

        return StreamResponse(body())

    client = await site.connect()
    await client.send(b"GET /stream HTTP/1.0\r\n\r\n")
    assert (await client.answer())[2] == b"all"


async def test_a_reader_that_stops_reading_stops_the_producer(site: Site) -> None:
    made = 0

    @site.route("GET", "/flood")
    async def flood(request):
        async def body():
            nonlocal made
            while True:
                made += 1
                yield bytes(65536)

        return StreamResponse(body())

    client = await site.connect()
    await client.send(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.head()
    before = -1
    while before != made:
        before = made
        await asyncio.sleep(0.05)
    assert made < 100


async def test_a_slow_handler_holds_up_the_sender(site: Site) -> None:
    first = asyncio.Event()

    @site.route("POST", "/slow", max_body=UNLIMITED)
    async def slow(request):
        total = 0
        async for chunk in request.body.chunks():
            total += len(chunk)
            await first.wait()
        return Response(200, str(total).encode())

    client = await site.connect()
    size = 32 << 20
    await client.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    sent = asyncio.create_task(client.send(bytes(size)))
    await asyncio.sleep(0.1)
    assert not sent.done()
    first.set()
    await sent
    assert (await client.answer())[2] == str(size).encode()


async def test_who_connected_is_known_from_the_kernel(site: Site) -> None:
    @site.route("GET", "/me")
    async def me(request):
        return json_response([request.peer.pid, request.peer.uid])

    client = await site.connect()
    assert await client.ask("GET", "/me") == (200, [os.getpid(), os.getuid()])


async def test_a_handler_is_cancelled_when_its_client_leaves(site: Site) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    @site.route("POST", "/wait", until_gone=True)
    async def wait(request):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    client = await site.connect()
    await client.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await began.wait()
    await client.close()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_stream_is_closed_when_its_client_leaves(site: Site) -> None:
    ended = asyncio.Event()

    @site.route("GET", "/events")
    async def events(request):
        async def body():
            try:
                yield b"one"
                await asyncio.Event().wait()
            finally:
                ended.set()

        return StreamResponse(body())

    client = await site.connect()
    await client.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readuntil(b"one")
    await client.close()
    await asyncio.wait_for(ended.wait(), 5)


async def test_work_for_others_goes_on_when_its_client_leaves(site: Site) -> None:
    go_on, ended = asyncio.Event(), asyncio.Event()

    @site.route("POST", "/create")
    async def create(request):
        await go_on.wait()
        ended.set()
        return Response(201)

    client = await site.connect()
    await client.send(b"POST /create HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await asyncio.sleep(0.02)
    await client.close()
    await asyncio.sleep(0.02)
    go_on.set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_client_that_only_stops_sending_still_gets_its_answer(site: Site) -> None:
    go_on = asyncio.Event()

    @site.route("POST", "/wait", until_gone=True)
    async def wait(request):
        await go_on.wait()
        return Response(200, b"done")

    client = await site.connect()
    await client.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    client.writer.write_eof()
    await asyncio.sleep(0.05)
    go_on.set()
    assert (await client.answer())[2] == b"done"


async def test_closing_the_server_lets_a_running_answer_end(site: Site) -> None:
    @site.route("GET", "/slow")
    async def slow(request):
        await asyncio.sleep(0.1)
        return Response(200, b"done")

    client = await site.connect()
    idle = await site.connect()
    await client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.02)
    assert site.server is not None
    closing = asyncio.create_task(site.server.close())
    assert (await client.answer())[2] == b"done"
    assert await idle.reader.read() == b""
    await closing
    assert site.server.connections == 0
