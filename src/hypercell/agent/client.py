# SPDX-License-Identifier: Apache-2.0
"""The host's end of a connection to an agent."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import termios
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from hypercell.agent import frames, messages
from hypercell.agent.budget import Budget
from hypercell.agent.contract import Json, Opener, Welcome
from hypercell.agent.frames import ProtocolError
from hypercell.agent.greeting import Greeting, Unanswerable
from hypercell.agent.input import Input
from hypercell.agent.output import Output
from hypercell.agent.requests import Requests
from hypercell.agent.streams import Streams
from hypercell.base.errors import VmFailed

HELLO_AGAIN: Final = 0.025
"""Seconds without a WELCOME after which it is asked once more: a guest that notices late that its old host hung up
may drop the new one's HELLO with it."""

FLUSH_AFTER: Final = 0.25
"""Seconds without a WELCOME after which the guest is taken to be in the middle of an old frame."""

EVENTS: Final = (5000, 1000.0)
"""Events at once and per second; a guest that tells more is not ours."""

LOGS: Final = (100, 20.0)
"""Of these, lines of the agent's log; what is more is dropped."""

_RECEIVE: Final = 64 * 1024
_CLOSE: Final = 1.0
_REOPEN: Final = (0.01, 0.25)
_OnEvent = Callable[[Json], None]

_log = logging.getLogger(__name__)


async def connect(opener: Opener, on_event: _OnEvent, timeout: float) -> Client:
    """Greet the agent, asking and opening again until the deadline (`contract.Connect`).

    Raises `VmFailed('boot-failed')` when nobody answers in *timeout* seconds, or at once when the answer is no; what
    *opener* raises is passed on, but for an `OSError`, after which it is tried again.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    pause, longest = _REOPEN
    trouble = "it never answered"
    while (left := deadline - loop.time()) > 0:
        try:
            async with asyncio.timeout(left):
                _, writer = await opener()
        except OSError as error:  # a TimeoutError too
            trouble = f"its channel cannot be opened: {error or 'timeout'}"
        else:
            client = Client(writer, on_event)
            try:
                await client.greet(deadline)
                return client
            except ConnectionError:
                trouble = "it hung up"
            except TimeoutError:
                break
            except Unanswerable as error:
                raise VmFailed(str(error), "boot-failed", "use the agent that belongs to this hypercell") from None
        await asyncio.sleep(max(0.0, min(pause, deadline - loop.time())))
        pause = min(2 * pause, longest)
    raise VmFailed(
        f"the agent did not greet within {timeout:g} s ({trouble})", "boot-failed", "look at the console of the VM"
    )


class Client(asyncio.BufferedProtocol):
    """Implements `contract.Agent`. It is the transport's protocol itself: a frame costs no task switch."""

    welcome: Welcome

    def __init__(self, writer: asyncio.StreamWriter, on_event: _OnEvent) -> None:
        loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()
        self.failure: str | None = None
        """Why it ended."""
        self._on_event = on_event
        self._writer = writer  # its finaliser would close the transport
        self._transport = writer.transport
        self._streams_protocol = writer.transport.get_protocol()
        self._greeting: Greeting | None = Greeting()
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._unanswered = 0
        self._greeted_again = False
        self._parser = frames.FrameParser(frames.FROM_GUEST)
        self._buffer = _receive_buffer()
        self._clock = loop.time
        self._events = Budget(*EVENTS, loop.time())
        self._logs = Budget(*LOGS, loop.time())
        self._writable: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] = loop.create_future()
        self._streams = Streams(self._send, lambda: self._writable)
        self._requests = Requests(self._send, self._streams.watch)

    # For the user.

    async def request(self, op: str, members: Mapping[str, Any] | None = None, timeout: float = 30.0) -> Json:
        return await self._requests.call(op, {} if members is None else members, timeout)

    def new_stream(self) -> int:
        return self._streams.new()

    def reserve_streams(self, above: int) -> None:
        self._streams.reserve(above)

    def output(self, stream: int, start: int = 0) -> Output:
        return self._streams.output(stream, start)

    def input(self, stream: int, start: int = 0) -> Input:
        return self._streams.input(stream, start)

    async def close(self) -> None:
        self._end("closed by the host", self._transport.close)
        await asyncio.wait([self._gone], timeout=_CLOSE)
        self._transport.abort()

    async def greet(self, deadline: float) -> None:
        """Take the connection over from the reader and writer, and greet until *deadline* (of the loop's clock).

        Bytes that the reader holds already are from an older connection: nobody answered before our HELLO.
        Raises `ConnectionError`, `TimeoutError`, `Unanswerable`; then the connection is closed.
        """
        greeting = self._greeting
        assert greeting is not None
        try:
            self._take_over()
            untaken = False
            while True:
                if self._unread():
                    untaken = True
                elif untaken:
                    untaken = False  # taken a moment ago: it gets its time to answer
                else:
                    flush = bytes(frames.FLUSH) if self._unanswered > 1 else b""
                    self._transport.write(flush + greeting.hello)
                    self._unanswered += 1
                left = deadline - self._clock()
                patience = HELLO_AGAIN if self._unanswered == 1 and not untaken else FLUSH_AFTER
                await asyncio.wait([self._greeted], timeout=min(patience, left))
                if self._greeted.done():
                    return self._greeted.result()
                if greeting.refusal is not None and self._unanswered > 1:
                    raise Unanswerable(greeting.refusal)
                if left <= 0:
                    raise TimeoutError
        except BaseException:
            self._end("not greeted", self._transport.abort)
            raise

    # For asyncio.

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        try:
            if self._greeting is not None:
                data = self._look_for_welcome(self._greeting, data)
            if data:
                self._take(data)
        except ProtocolError as error:
            self._end(f"it broke the protocol: {error}", self._transport.abort)

    def eof_received(self) -> None:
        """Close: there is no half of this connection to keep."""

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection ended{f': {exc}' if exc else ''}", self._transport.abort)
        if not self._gone.done():
            self._gone.set_result(None)
        self._streams_protocol.connection_lost(exc)

    # Inside.

    def _take_over(self) -> None:
        transport = self._transport
        if transport.is_closing():
            raise ConnectionResetError("closed before the greeting")
        transport.set_protocol(self)
        if isinstance(transport, asyncio.ReadTransport) and not transport.is_reading():
            transport.resume_reading()

    def _unread(self) -> int:
        """Bytes of ours that the hypervisor has not taken yet: before the guest opens its port, all of them."""
        waiting = self._transport.get_write_buffer_size()
        socket = self._transport.get_extra_info("socket")
        if waiting or socket is None:
            return waiting
        answer = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, "little")

    def _look_for_welcome(self, greeting: Greeting, data: bytes) -> bytes:
        try:
            found = greeting.feed(data)
        except Unanswerable as error:
            if not self._greeted.done():
                self._greeted.set_exception(error)
            return b""
        if found is None or self.failure is not None:
            return b""
        self.welcome, rest = found
        self._nonce = greeting.nonce
        self._greeting = None
        self._unanswered -= 1
        if not self._greeted.done():
            self._greeted.set_result(None)
        return rest

    def _take(self, data: bytes) -> None:
        outputs = self._streams.outputs
        for kind, flags, ident, offset, payload in self._parser.feed(data):
            if kind == frames.DATA:
                output = outputs.get(ident)
                if output is not None:
                    output.data(offset, payload, bool(flags))
                elif self.failure is None:
                    self._streams.unexpected_data(ident)
            elif self.failure is not None:
                return
            elif kind == frames.REPLY:
                self._requests.reply(ident, payload)
            elif kind == frames.WINDOW:
                self._streams.window(ident, frames.acknowledged_of(payload), offset)
            elif kind == frames.EVENT:
                self._event(payload)
            elif kind == frames.ERROR:
                self._requests.error(ident, payload)
            else:
                self._late_answer(kind, payload)

    def _event(self, payload: bytes) -> None:
        now = self._clock()
        if not self._events.take(now):
            raise ProtocolError("more events than a guest can have")
        event = messages.event(payload)
        if event is None or (event["event"] == "log" and not self._logs.take(now)):
            return
        if event["event"] == "process.exited":
            self._streams.exited(event["container"], event["process"])
        try:
            self._on_event(event)
        except Exception:
            _log.exception("an event of the agent was not handled: %s", event)

    def _late_answer(self, kind: int, payload: bytes) -> None:
        """SYNC and WELCOME once more, if more than one HELLO was sent."""
        if kind == frames.GREETING and self._unanswered and not self._greeted_again:
            self._greeted_again = True
        elif kind == frames.WELCOME and self._greeted_again and messages.welcome(payload)[1] == self._nonce:
            self._greeted_again = False
            self._unanswered -= 1
        else:
            raise ProtocolError("a greeting that nobody asked for")

    def _send(self, data: bytes) -> None:
        if self.failure is None:
            self._transport.write(data)

    def _end(self, reason: str, hang_up: Callable[[], None]) -> None:
        """Once: everything that waits learns why, nothing is sent any more."""
        if self.failure is None:
            self.failure = reason
            self._requests.fail(reason)
            self._streams.fail(reason)
            self.resume_writing()
            if not self._greeted.done():
                self._greeted.set_exception(ConnectionResetError(reason))
                self._greeted.exception()
            self.closed.set()
            hang_up()


_thread = threading.local()


def _receive_buffer() -> memoryview:
    """One for all connections of a thread: what is received is copied out before the loop turns to the next."""
    try:
        buffer: memoryview = _thread.buffer
    except AttributeError:
        buffer = _thread.buffer = memoryview(bytearray(_RECEIVE))
    return buffer
