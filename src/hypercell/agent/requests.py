# SPDX-License-Identifier: Apache-2.0
"""Requests of one connection: numbered, at most 256 open, each with an end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from hypercell.agent import messages
from hypercell.agent.contract import Json
from hypercell.agent.failure import agent_lost
from hypercell.agent.frames import REQUEST, ProtocolError, encode

MAX_OPEN: Final = 256
_MAX_ID: Final = 2**32 - 1

OnReply = Callable[[Json | None], None]
"""Runs with a reply (None: ERROR) in the turn in which it came, before any later frame is looked at."""

Watch = Callable[[str, Mapping[str, Any]], OnReply | None]


class _Open:
    __slots__ = ("future", "on_reply", "op", "payload")

    def __init__(self, op: str, payload: bytes, future: asyncio.Future[Json], on_reply: OnReply | None) -> None:
        self.op = op
        self.payload = payload
        self.future = future
        self.on_reply = on_reply


class Requests:
    """A request that nobody waits for any more keeps its number until the guest answered or the connection ended."""

    def __init__(self, send: Callable[[bytes], None], watch: Watch) -> None:
        self._send = send
        self._watch = watch
        self._last = 0
        self._open: dict[int, _Open] = {}
        self._queue: deque[_Open] = deque()
        self._failure: str | None = None

    async def call(self, op: str, members: Mapping[str, Any], timeout: float) -> Json:
        """The reply to *op*."""
        if self._failure is not None:
            raise agent_lost(self._failure)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Json] = loop.create_future()
        payload = messages.encode({**members, "op": op})
        request = _Open(op, payload, future, self._watch(op, members))
        if len(self._open) < MAX_OPEN:
            self._issue(request)
        else:
            self._queue.append(request)
        timer = loop.call_later(timeout, _expire, future, op, timeout)
        try:
            return await future
        finally:
            timer.cancel()

    def reply(self, ident: int, payload: bytes) -> None:
        """A REPLY frame. Raises `ProtocolError`."""
        request = self._find(ident)
        found = messages.reply(request.op, payload)
        self._answered(ident, request, found)
        if not request.future.done():
            request.future.set_result(found)

    def error(self, ident: int, payload: bytes) -> None:
        """An ERROR frame. Raises `ProtocolError`."""
        request = self._find(ident)
        found = messages.error(payload)
        self._answered(ident, request, None)
        if not request.future.done():
            request.future.set_exception(found)

    def fail(self, reason: str) -> None:
        self._failure = reason
        for request in (*self._open.values(), *self._queue):
            if not request.future.done():
                request.future.set_exception(agent_lost(reason))
        self._open.clear()
        self._queue.clear()

    def _find(self, ident: int) -> _Open:
        # It stays open until its answer was checked: one that fails the check must fail this request too.
        request = self._open.get(ident)
        if request is None:
            raise ProtocolError(f"an answer to request {ident}, which is not open")
        return request

    def _answered(self, ident: int, request: _Open, reply: Json | None) -> None:
        del self._open[ident]
        if request.on_reply is not None:
            request.on_reply(reply)
        while self._queue and len(self._open) < MAX_OPEN:
            waiting = self._queue.popleft()
            if not waiting.future.done():
                self._issue(waiting)

    def _issue(self, request: _Open) -> None:
        if self._last >= _MAX_ID:
            raise agent_lost("the request ids of this connection are used up")
        self._last += 1
        self._open[self._last] = request
        self._send(encode(REQUEST, self._last, request.payload))
        request.payload = b""


def _expire(future: asyncio.Future[Json], op: str, timeout: float) -> None:
    if not future.done():
        future.set_exception(agent_lost(f"no answer to {op} within {timeout:g} s"))
