# SPDX-License-Identifier: Apache-2.0
"""The guest's ends of streams: rings that keep output until it is acknowledged, and credit for input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypercell.agent import frames

RING = 256 * 1024
INPUT_CREDIT = 64 * 1024

Send = Callable[[bytes], None]


class OutputRing:
    """Output of one stream: bytes [base, end) are kept until the host acknowledged them."""

    def __init__(self, stream: int, send: Send, capacity: int = RING) -> None:
        self.stream = stream
        self.base = 0
        self.eof = False
        self.done = False
        self.on_space: Callable[[], None] = lambda: None
        self._send = send
        self._capacity = capacity
        self._kept = bytearray()
        self._sent = 0
        self._limit: int | None = None
        self._eof_sent = False

    @property
    def end(self) -> int:
        return self.base + len(self._kept)

    @property
    def free(self) -> int:
        return self._capacity - len(self._kept)

    def write(self, data: bytes | memoryview) -> int:
        """How many bytes were taken."""
        taken = min(len(data), self.free)
        if taken and not self.eof:
            self._kept += data[:taken]
            self._pump()
        return taken

    def close(self) -> None:
        if not self.eof:
            self.eof = True
            self._pump()

    def discard(self) -> None:
        """Nobody wants the bytes: forget them, and all that follow."""
        self.base, self.done = self.end, True
        self._kept.clear()
        self.on_space()

    def greeted(self) -> None:
        """A new host: silence until it grants credit."""
        self._limit = None
        self._eof_sent = False

    def window(self, acknowledged: int, limit: int) -> str | None:
        """A WINDOW from the host; the complaint, if it is wrong."""
        if acknowledged > self.end + self.eof:
            return f"stream {self.stream}: acknowledged {acknowledged} of {self.end}"
        complaint = None
        if acknowledged < self.base and self._limit is None:
            complaint = f"stream {self.stream}: {acknowledged} is below {self.base}"
            acknowledged = self.base
        first = self._limit is None
        drop = min(acknowledged, self.end) - self.base
        if drop > 0:
            del self._kept[:drop]
            self.base += drop
        settled = acknowledged > self.end and not self.done
        self.done = self.done or settled
        self._limit = max(limit, self._limit or 0)
        self._sent = self.base if first else max(self._sent, self.base)
        self._pump()
        if drop > 0 or settled:
            self.on_space()
        return complaint

    def state(self) -> dict[str, Any]:
        return {"stream": self.stream, "base": self.base, "end": self.end, "eof": self.eof}

    def _pump(self) -> None:
        if self._limit is None or self.done:
            return
        stop = min(self.end, self._limit)
        while self._sent < stop or (self.eof and self._sent == self.end and not self._eof_sent):
            begin = self._sent - self.base
            chunk = bytes(self._kept[begin : begin + min(frames.MAX_DATA, stop - self._sent)])
            last = self.eof and self._sent + len(chunk) == self.end
            self._send(frames.encode(frames.DATA, self.stream, chunk, frames.EOF if last else 0, self._sent))
            self._sent += len(chunk)
            self._eof_sent = last


class InputQueue:
    """Input of one stream. `on_input` is told of bytes to `take`, and of the end."""

    def __init__(self, stream: int, send: Send) -> None:
        self.stream = stream
        self.received = 0
        self.eof = False
        self.closed = False
        self.on_input: Callable[[], None] = lambda: None
        self._send = send
        self._queue = bytearray()
        self._granted = INPUT_CREDIT

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def at_end(self) -> bool:
        return self.eof and not self._queue

    def greeted(self) -> None:
        """Grant credit again: the new host does not know what the old one was told."""
        self._send(frames.encode_window(self.stream, self.received, self._granted))

    def data(self, offset: int, payload: bytes, eof: bool) -> str | None:
        """A DATA frame; the complaint, if there is a gap."""
        if offset > self.received or offset + len(payload) > self._granted:
            return f"stream {self.stream}: data at {offset}, received {self.received}, granted {self._granted}"
        fresh = payload[self.received - offset :]
        self.received += len(fresh)
        self.eof = self.eof or eof
        if self.closed:
            self._granted = self.received + INPUT_CREDIT
            self.greeted()
        else:
            self._queue += fresh
            if eof:
                self.greeted()
            self.on_input()
        return None

    def take(self, limit: int) -> bytes:
        """Up to *limit* bytes for the program; the host may send as many again."""
        data = bytes(self._queue[:limit])
        del self._queue[:limit]
        grant = self.received - len(self._queue) + INPUT_CREDIT
        if grant - self._granted >= INPUT_CREDIT // 4 or (data and not self._queue):
            self._granted = grant
            self.greeted()
        return data

    def end(self) -> None:
        """The host closed it by request: no more will come."""
        self.eof = True
        self.on_input()

    def close(self) -> None:
        """The program closed it or is gone: what comes is dropped, and never held back."""
        if not self.closed:
            self.closed = True
            self._queue.clear()
            self._granted = self.received + INPUT_CREDIT
            self.greeted()

    def state(self) -> dict[str, Any]:
        return {"stream": self.stream, "received": self.received, "closed": self.closed or self.eof}
