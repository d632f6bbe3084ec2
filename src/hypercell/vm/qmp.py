# SPDX-License-Identifier: Apache-2.0
"""A small client of QEMU's machine protocol (QMP, docs/interop/qmp-spec.txt in QEMU).

The other end is a process that a guest may have taken over: a message is bounded, and what is no message ends the
connection, nothing more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hypercell.base.errors import Internal, Unavailable

LIMIT = 256 * 1024
"""Bytes of one message."""
EVENTS_PER_SECOND = 100
"""More are not read for the moment; QEMU waits, or drops them."""

Event = dict[str, Any]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ProtocolError(Exception):
    """The other end does not speak QMP."""


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
        self._next = 0
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
        if self._task.done():
            raise Unavailable("the hypervisor's control socket is closed")
        self._next += 1
        ident = self._next
        request: dict[str, object] = {"execute": command, "id": ident}
        if arguments:
            request["arguments"] = arguments
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = future
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(json.dumps(request).encode() + b"\n")
                await self._writer.drain()
                return await future
        except TimeoutError:
            raise Unavailable(f"the hypervisor did not answer {command} within {timeout:g} s") from None
        except OSError as error:
            raise Unavailable("the hypervisor's control socket is closed") from error
        finally:
            self._waiting.pop(ident, None)

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
            lost = Unavailable("the hypervisor's control socket is closed")
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
            self._on_event(message.event, message.data or {})
            await pay()
        else:
            future = self._waiting.get(message.ident or 0)
            if future is not None and not future.done():
                if message.error is None:
                    future.set_result(message.answer)
                else:
                    future.set_exception(Internal(f"the hypervisor refused: {message.error}"))


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
