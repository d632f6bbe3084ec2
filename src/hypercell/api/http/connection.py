# SPDX-License-Identifier: Apache-2.0
"""One HTTP/1.1 connection: request after request, each handled in the connection's own task."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Generic, TypeVar

import h11

from hypercell.api.http.body import IncomingBody
from hypercell.api.http.channel import Channel
from hypercell.api.http.guard import refuse_browsers
from hypercell.api.http.head import MalformedRequest, body_length, check_expectation, check_head, split_target
from hypercell.api.http.hijack import run_hijack
from hypercell.api.http.messages import Headers, Hijack, Reply, Request, Response, StreamResponse
from hypercell.api.http.routing import UNLIMITED, Route, split_version
from hypercell.base.arrival import ARRIVED
from hypercell.base.errors import HypercellError

if TYPE_CHECKING:
    from hypercell.api.http.server import Server

A = TypeVar("A")
log = logging.getLogger(__name__)
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1 << 20


class Connection(Generic[A]):
    """Serves *channel* until either side has enough. `deadline` (event loop time) is watched by the server."""

    def __init__(self, server: Server[A], channel: Channel) -> None:
        self._server = server
        self._channel = channel
        self._peer = channel.peer
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.head_bytes)
        self._loop = asyncio.get_running_loop()
        self.deadline: float | None = None
        self.idle = True
        """Between requests: nothing is lost when the connection ends now."""
        self.waits_since: float | None = self._loop.time()
        """Since when nothing happens here until the client sends more (event loop time); None: it is our turn."""
        self._streaming = False
        self._first = True
        self._body_began: float | None = None
        self._body: IncomingBody | None = None
        self._last: Request[A] | None = None

    async def run(self) -> None:
        try:
            while await self._serve_one():
                self._release()
                self._h11.start_next_cycle()
        except ConnectionError:
            pass
        finally:
            self._release()
            self._channel.close()

    def _release(self) -> None:
        """Let go of the request that has been answered."""
        if self._body is not None:
            self._body.release()
        self._last = self._body = None

    @property
    def interruptible(self) -> bool:
        """True when nobody waits for an answer that will end by itself."""
        return self.idle or self._streaming

    def expire(self) -> None:
        """End the connection, whatever it is waiting for: its deadline is past, or others need the room."""
        self.waits_since = None
        self._channel.abort()

    async def _serve_one(self) -> bool:
        """One request and its answer; False when the connection must end."""
        try:
            event = await self._next_request()
            if event is None:
                return False
            ARRIVED.set(time.perf_counter())
            request = self._open(event)
        except (HypercellError, h11.RemoteProtocolError) as error:
            return await self._refuse(_as_http(error))
        reply = await self._reply(request)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s -> %s", request.method, request.path, _outcome(reply))
        if reply is None:
            return False
        if isinstance(reply, Hijack):
            await self._hand_over(reply, upgrade=request.header("upgrade") != "")
            return False
        await self._answer(reply)
        return await self._settle()

    async def _next_request(self) -> h11.Request | None:
        """The head of the next request; None when there is none."""
        limits = self._server.limits
        head = bytearray(self._h11.trailing_data[0])
        self.idle = not head
        self.waits_since = self._loop.time()
        self.deadline = self.waits_since + (limits.head_seconds if self._first or head else limits.idle_seconds)
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                data = await self._channel.read()
                if not data and self.idle:
                    return None
                if data and self.idle:
                    self.idle = False
                    self.deadline = self._loop.time() + limits.head_seconds
                self._h11.receive_data(data)
                head += data
                continue
            self.deadline = self.waits_since = self._body_began = None
            self._first = self.idle = False
            if not isinstance(event, h11.Request):
                return None
            check_head(head[: len(head) - len(self._h11.trailing_data[0])], limits.head_bytes)
            return event

    def _open(self, event: h11.Request) -> Request[A]:
        """The request of a head. Raises for one that leaves open where the next request begins."""
        if event.http_version not in (b"1.0", b"1.1"):
            raise MalformedRequest("only HTTP/1.1 and HTTP/1.0 are spoken here")
        length = body_length(event.headers, event.http_version)
        self._body = IncomingBody(self._next_body_chunk, length, self._server.bodies)
        path, query = split_target(event.target)
        version, path = split_version(path)
        method = event.method.decode("ascii")
        request = Request(self._server.app, method, path, query, event.headers, self._body, self._peer)
        request.version = version
        self._last = request
        check_expectation(request.header("expect"))
        return request

    async def _reply(self, request: Request[A]) -> Reply | None:
        """What the handler says, or the error that came of it; None when the client left meanwhile."""
        try:
            refuse_browsers(
                request.header("origin"), request.header("sec-fetch-site"), request.header("host"), self._channel.local
            )
            route, request.params = self._server.find(request)
            assert self._body is not None
            self._body.set_limit(route.max_body)
            return await self._handle(route, request)
        except asyncio.CancelledError:
            if self._channel.gone:  # we cancelled it ourselves, on behalf of a client that left
                return None
            raise
        except ConnectionError:
            raise
        except Exception as error:
            told = _as_http(error)
            if told.status >= 500 and told.status != 501 and told is error:
                log.error("%s %s: %s", request.method, request.path, told)
            return self._server.explain(request, told)

    async def _handle(self, route: Route[A], request: Request[A]) -> Reply:
        if not route.until_gone:
            return await route.handler(request)
        task = asyncio.current_task()
        assert task is not None
        self._channel.when_gone(task.cancel)
        reply = await route.handler(request)
        if not isinstance(reply, StreamResponse):
            self._channel.when_gone(None)
        return reply

    async def _hand_over(self, hijack: Hijack, upgrade: bool) -> None:
        if not await self._finish_body():
            self._channel.abort()
        leftover = self._h11.trailing_data[0]
        self._streaming = True
        await run_hijack(self._channel, hijack, upgrade, leftover, self._fixed_headers())

    async def _next_body_chunk(self) -> bytes:
        """b'' at the end of the request's body."""
        if self._h11.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise _as_http(error) from None
            if event is h11.NEED_DATA:
                self._h11.receive_data(await self._read_body())
            elif isinstance(event, h11.Data):
                return bytes(event.data)
            else:
                return b""

    async def _read_body(self) -> bytes:
        """More of the body. One that is streamed somewhere may come for as long as it comes at all; one that is kept
        must be whole in time."""
        assert self._body is not None
        now = self._loop.time()
        if self._body.limit == UNLIMITED or self._body_began is None:
            self._body_began = now
        self.deadline, self.waits_since = self._body_began + self._server.limits.body_seconds, now
        data = await self._channel.read()
        self.deadline = self.waits_since = None
        return data

    async def _answer(self, reply: Response | StreamResponse) -> None:
        headers = list(self._fixed_headers())
        if reply.content_type:
            headers.append(("Content-Type", reply.content_type))
        headers += reply.headers
        if self._must_close():
            headers.append(("Connection", "close"))
        if isinstance(reply, Response):
            await self._answer_whole(reply, headers)
        else:
            await self._answer_stream(reply, headers)

    async def _answer_whole(self, reply: Response, headers: list[tuple[str, str]]) -> None:
        bodiless = reply.status in (204, 304)
        if not bodiless and not any(name == "Content-Length" for name, _ in reply.headers):
            headers.append(("Content-Length", str(len(reply.body))))
        head = self._h11.send(_head(reply.status, headers)) or b""
        data = b""
        if reply.body and not bodiless and self._h11.their_state is not h11.SWITCHED_PROTOCOL and not self._is_head():
            data = self._h11.send(h11.Data(data=reply.body)) or b""
        end = self._h11.send(h11.EndOfMessage()) or b""
        self.deadline = self._loop.time() + self._server.limits.drain_seconds
        self._channel.write(head + data + end)
        await self._channel.drain()
        self.deadline = None

    async def _answer_stream(self, reply: StreamResponse, headers: list[tuple[str, str]]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._channel.when_gone(task.cancel)
        self._streaming = True
        try:
            self._send(_head(reply.status, headers))
            async for chunk in reply.body:
                if chunk:
                    self._send(h11.Data(data=chunk))
                    await self._channel.drain()
            self._channel.when_gone(None)
            self._send(h11.EndOfMessage())
        except asyncio.CancelledError:
            if not self._channel.gone:
                raise
            raise ConnectionResetError("the client is gone") from None
        except ConnectionError:
            raise
        except Exception:
            # The head is out, so the only honest answer left is a body that does not end as it should.
            log.exception("a response broke off")
            self._channel.abort()
            raise ConnectionAbortedError("a response broke off") from None
        finally:
            self._streaming = False
            self._channel.when_gone(None)
            close = getattr(reply.body, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()

    async def _settle(self) -> bool:
        """After an answer: is the connection fit for another request?"""
        if self._must_close():
            await self._linger()
            return False
        if not await self._finish_body():
            return False
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and not self._server.closing

    def _must_close(self) -> bool:
        """True when no other request is read behind this one: what is left of its body is not worth reading (or will
        never come), or it came in chunks, about whose end (extensions, trailers) parsers disagree too easily."""
        body = self._body
        if body is None:
            return False
        if body.length is None:
            return True
        return not body.finished and (self._h11.they_are_waiting_for_100_continue or body.length > _LINGER_BYTES)

    async def _finish_body(self) -> bool:
        """Read the request to its end; False when that cannot be."""
        body = self._body
        assert body is not None
        if body.finished:
            if self._h11.their_state is h11.SEND_BODY:
                self._h11.next_event()  # the end of a body that nobody asked for
            return True
        body.limit = UNLIMITED
        try:
            async for _ in body.chunks():
                pass
        except HypercellError:
            return False
        return True

    async def _refuse(self, error: HypercellError) -> bool:
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        reply = self._server.explain(self._last, error)
        if not self._must_close():
            reply.headers += (("Connection", "close"),)
        await self._answer(reply)
        await self._linger()
        return False

    async def _linger(self) -> None:
        """Close without a reset that could take the answer away: say that we are done, and read on for a moment."""
        self._channel.write_eof()
        self.deadline = self._loop.time() + _LINGER_SECONDS
        received = 0
        while received < _LINGER_BYTES:
            data = await self._channel.read()
            if not data:
                break
            received += len(data)

    def _is_head(self) -> bool:
        return self._last is not None and self._last.method == "HEAD"

    def _send(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            self._channel.write(data)

    def _fixed_headers(self) -> Headers:
        return (*self._server.headers, ("Date", _http_date(int(time.time()))))


def _head(status: int, headers: list[tuple[str, str]]) -> h11.Response:
    return h11.Response(status_code=status, headers=headers, reason=http.client.responses.get(status, ""))


def _outcome(reply: Reply | None) -> str:
    if reply is None:
        return "the client left"
    return "hijacked" if isinstance(reply, Hijack) else str(reply.status)


_date: tuple[int, str] = (0, "")


def _http_date(now: int) -> str:
    global _date
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


def _as_http(error: Exception) -> HypercellError:
    if isinstance(error, h11.RemoteProtocolError):
        # h11 shows what it could not read as Python writes it, and has 501 for transfer codings that it does not know.
        status = error.error_status_hint if error.error_status_hint < 500 else 400
        return MalformedRequest(f"malformed request: {str(error).partition(': bytearray')[0]}", status)
    if isinstance(error, HypercellError):
        return error
    log.error("a handler failed", exc_info=error)
    fault = HypercellError("internal error: the daemon's log says more")
    fault.__cause__ = error
    return fault
