# SPDX-License-Identifier: Apache-2.0
"""A small client of QEMU's machine protocol (QMP, docs/interop/qmp-spec.txt in QEMU).

The other end is a process that a guest may have taken over: a message is bounded, and what is no message ends the
connection, nothing more.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypercell.base.errors import Internal, Unavailable

LIMIT = 256 * 1024
"""Bytes of one message."""
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What the daemon itself wants for: no hypervisor is the cause."""
EVENTS_PER_SECOND = 100
"""More are not read for the moment; QEMU waits, or drops them."""

_numbers = itertools.count(1)
"""Of commands, on all connections: a VM that was forked first answers, on a connection of its own, the command by which
its template was told to fork, and nobody may take that for the answer to one of his."""

Event = dict[str, Any]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ProtocolError(Exception):
    """The other end does not speak QMP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One that is waited for."""

    command: str
    ident: int
    future: asyncio.Future[object]


@dataclass(frozen=True, slots=True)
class Message:
    """One parsed line. Exactly one of the members that are not None, besides `ident`, says what it is."""

    greeting: dict[str, Any] | None = None
    event: str | None = None
    data: dict[str, Any] | None = None
    answer: object = None
    error: str | None = None
    ident: int | None = None


def parse(line: bytes) -> Message:
    """The message in *line*. Raises `ProtocolError`."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:40]!r}") from error
    if not isinstance(value, dict):
        raise ProtocolError("not an object")
    ident = value.get("id")
    number = ident if type(ident) is int else None
    if "event" in value:
        name, data = value["event"], value.get("data", {})
        if not isinstance(name, str) or not isinstance(data, dict):
            raise ProtocolError("an event without a name")
        return Message(event=name, data=data)
    if "error" in value:
        refusal = value["error"]
        text = refusal.get("desc") if isinstance(refusal, dict) else None
        return Message(error=str(text)[:500], ident=number)
    if "return" in value:
        return Message(answer=value["return"], ident=number)
    if isinstance(value.get("QMP"), dict):
        return Message(greeting=value["QMP"])
    raise ProtocolError("neither greeting, event nor answer")


class Qmp:
    """One connection. `on_event(name, data)` is called for each event, in order."""

    def __init__(self, streams: Streams, on_event: Callable[[str, Event], None] = lambda name, data: None) -> None:
        self._reader, self._writer = streams
        self._on_event = on_event
        self._waiting: dict[int, asyncio.Future[object]] = {}
        self._expected: dict[str, int] = {}
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read())

    async def start(self, timeout: float) -> None:
        """Greet. Raises `Unavailable` when the other end does not, within *timeout* seconds."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._greeted)
        except TimeoutError:
            raise Unavailable("the hypervisor does not answer on its control socket") from None
        await self.execute("qmp_capabilities", timeout=timeout)

    async def execute(self, command: str, timeout: float = 10.0, **arguments: object) -> object:
        """The answer to *command*. Raises `Internal` for an error answer, `Unavailable` for none."""
        return (await self.answers([self.begin(command, arguments)], timeout))[0]

    def begin(self, command: str, arguments: Mapping[str, object] | None = None, *descriptors: int) -> Answer:
        """Send *command*, with copies of *descriptors* if there are any, and wait for nothing. QEMU reads one byte at a
        time, ours a line, and no further before a command is carried out: it never mixes up the descriptors of several.

        The result is for `answers`. Raises `Unavailable` when the connection is closed, `OSError` when we are short of
        something ourselves, and nothing was sent.
        """
        if self._task.done():
            raise _closed()
        answer = Answer(command, next(_numbers), asyncio.get_running_loop().create_future())
        request: dict[str, object] = {"execute": command, "id": answer.ident}
        if arguments:
            request["arguments"] = dict(arguments)
        self._waiting[answer.ident] = answer.future
        data = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        try:
            if not descriptors:
                self._writer.write(data)
            else:
                self._write_with(data, descriptors)
        except OSError as error:
            self._waiting.pop(answer.ident, None)
            if error.errno in SHORT:
                raise
            raise _closed() from error
        return answer

    def expect(self, event: str) -> Answer:
        """The next *event* of that name, to be waited for as an answer is."""
        answer = Answer(event, next(_numbers), asyncio.get_running_loop().create_future())
        self._waiting[answer.ident] = answer.future
        self._expected[event] = answer.ident
        return answer

    async def answers(self, begun: Sequence[Answer], timeout: float = 10.0) -> list[object]:
        """The answers to all that was *begun*, in that order. Raises `Internal` for the first that is an error,
        `Unavailable` for none."""
        waited: Answer | None = None
        results: list[object] = []
        try:
            async with asyncio.timeout(timeout):
                for waited in begun:
                    results.append(await waited.future)
        except TimeoutError:
            late = waited.command if waited else "anything"
            raise Unavailable(f"the hypervisor did not answer {late} within {timeout:g} s") from None
        finally:
            for answer in begun:
                self._waiting.pop(answer.ident, None)
                if answer.future.done() and not answer.future.cancelled():
                    answer.future.exception()  # looked at: the first error is told
        return results

    def _write_with(self, data: bytes, descriptors: Sequence[int]) -> None:
        if self._writer.transport.get_write_buffer_size():
            raise BlockingIOError("the hypervisor reads nothing")
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as same:
            if socket.send_fds(same, [data], descriptors) < len(data):
                self._writer.close()  # half a command: no other can follow
                raise BlockingIOError("the hypervisor reads nothing")

    async def ended(self) -> None:
        """Return when the other end has closed, or was cut off for not speaking QMP."""
        await asyncio.wait([self._task])

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _read(self) -> None:
        budget = _Budget(EVENTS_PER_SECOND)
        try:
            while line := await self._reader.readline():
                await self._handle(parse(line), budget.spend)
        except (ProtocolError, ValueError, OSError):
            pass  # ValueError: a line beyond the limit
        finally:
            self._writer.close()
            lost = _closed()
            futures: list[asyncio.Future[Any]] = [self._greeted, *self._waiting.values()]
            for future in futures:
                if not future.done():
                    future.set_exception(lost)
                    future.exception()  # looked at: nobody may be waiting

    async def _handle(self, message: Message, pay: Callable[[], Awaitable[None]]) -> None:
        if message.greeting is not None:
            if not self._greeted.done():
                self._greeted.set_result(None)
        elif message.event is not None:
            self._resolve(self._expected.pop(message.event, 0), message)
            self._on_event(message.event, message.data or {})
            await pay()
        else:
            self._resolve(message.ident or 0, message)

    def _resolve(self, ident: int, message: Message) -> None:
        future = self._waiting.get(ident)
        if future is not None and not future.done():
            if message.error is None:
                future.set_result(message.answer)
            else:
                future.set_exception(Internal(f"the hypervisor refused: {message.error}"))


def _closed() -> Unavailable:
    return Unavailable("the hypervisor's control socket is closed")


class _Budget:
    """So many of something a second; `spend` sleeps when there were more."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._since = 0.0
        self._spent = 0

    async def spend(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._since >= 1:
            self._since, self._spent = now, 0
        self._spent += 1
        if self._spent >= self._per_second:
            await asyncio.sleep(self._since + 1 - now)
