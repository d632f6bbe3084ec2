# SPDX-License-Identifier: Apache-2.0
"""What one run of a container writes: into its log, and to every client that is attached.

The log is where bytes become safe. A client gets them the moment they arrive, from a queue of its own; one that
falls behind is cut off from the live flow, reads what it missed from the log, and joins again. So a slow client
holds up neither the container nor the log nor another client, and costs a bounded amount of memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from hypercell.node.logs import Cursor, Entry, Log
from hypercell.node.logs.lines import Lines
from hypercell.node.logs.log import START
from hypercell.node.types import Output

MAX_BEHIND = 1024 * 1024


class RunOutput:
    """Both output streams of one run. Lives from the end of the run before, so that clients can attach before start."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.run = 0
        self.lines = {Output.STDOUT: Lines(), Output.STDERR: Lines()}
        self.finished = False
        self._taps: set[Tap] = set()

    def begin(self, run: int) -> None:
        """The run has its number: go on where the log ends (which is 0 unless an earlier daemon wrote some of it)."""
        self.run = run
        stdout, stderr = self.log.positions(run)
        self.lines = {Output.STDOUT: Lines(stdout), Output.STDERR: Lines(stderr)}

    def rewind(self) -> None:
        """The guest will send again what was not acknowledged: forget it, but remember what clients have."""
        for lines in self.lines.values():
            lines.unwritten = b""

    def receive(self, stream: Output, offset: int, data: bytes) -> None:
        """Bytes of the guest that begin at *offset*: to the clients. `store` puts them into the log."""
        lines = self.lines[stream]
        lines.skip_to(offset)
        data = data[lines.seen - offset :]
        if not data:
            return
        offset = lines.seen
        lines.add(data)
        for tap in list(self._taps):
            tap.push(stream, offset, data)

    def store(self, stream: Output, last: bool = False) -> int:
        """Write what can be written of one stream; returns the offset below which all is safe. Raises `OSError`."""
        lines = self.lines[stream]
        pieces = lines.pieces(last)
        now = time.time_ns()
        while pieces:
            written = self.log.append(self._entries(stream, pieces, now))
            lines.commit(sum(map(len, pieces[:written])))
            pieces = pieces[written:]
        return lines.written

    def drop(self, stream: Output, room: int) -> int:
        """Of what cannot be written, forget the oldest beyond *room* bytes; returns the offset below which all that
        came may be acknowledged."""
        lines = self.lines[stream]
        lines.drop_to(room)
        return lines.seen

    def _entries(self, stream: Output, pieces: list[bytes], now: int) -> list[Entry]:
        ends = {kind: lines.written for kind, lines in self.lines.items()}
        entries = []
        for piece in pieces:
            ends[stream] += len(piece)
            entries.append(Entry(stream, self.run, now, ends[Output.STDOUT], ends[Output.STDERR], piece))
        return entries

    def finish(self) -> None:
        """Nothing more will come. Clients get what they have not had yet, then the end."""
        self.finished = True
        for tap in list(self._taps):
            tap.wake()
        self.log.notify()

    def attach(self, streams: frozenset[Output], logs: bool = False, live: bool = True) -> Tap:
        """A client. With *logs* it gets the whole log first; with *live* what comes from now on."""
        tap = Tap(self, streams, live)
        if logs:
            tap.fall_behind(START)
        self._taps.add(tap)
        return tap

    def detach(self, tap: Tap) -> None:
        self._taps.discard(tap)


class Tap:
    """One client's view of a run's output."""

    def __init__(self, output: RunOutput, streams: frozenset[Output], live: bool) -> None:
        self._output = output
        self._streams = streams
        self._live = live
        self._queue: deque[tuple[Output, bytes]] = deque()
        self._queued = 0
        self._cursor: Cursor | None = None
        """Where in the log this client reads; None while it keeps up with the live flow."""
        self._have = {stream: lines.seen for stream, lines in output.lines.items()}
        """Offset of the run's streams up to which the client has got, or has queued, everything."""
        self._wakeup = asyncio.Event()
        self._closed = False

    def push(self, stream: Output, offset: int, data: bytes) -> None:
        if self._cursor is not None or not self._live:
            return
        if self._queued + len(data) > MAX_BEHIND:
            self.fall_behind(self._output.log.end())
            return
        # A client that attached before the daemon knew where the run stands has no position yet.
        data = data[max(0, self._have[stream] - offset) :]
        self._have[stream] = offset + len(data)
        if stream in self._streams and data:
            self._queue.append((stream, data))
            self._queued += len(data)
            self._wakeup.set()

    def fall_behind(self, cursor: Cursor) -> None:
        if self._cursor is None:
            self._output.log.hold()
        self._cursor = cursor
        if cursor == START:
            self._have = dict.fromkeys(self._have, 0)
        self._wakeup.set()

    def _keep_up(self) -> None:
        if self._cursor is not None:
            self._cursor = None
            self._output.log.let_go()

    def wake(self) -> None:
        self._wakeup.set()

    def close(self) -> None:
        self._closed = True
        self._output.detach(self)
        self._keep_up()
        self._wakeup.set()

    async def read(self) -> AsyncIterator[tuple[Output, bytes]]:
        """Everything from the attachment on, in order, until the run ends or `close`."""
        try:
            while not self._closed:
                while self._queue and not self._closed:
                    stream, data = self._queue.popleft()
                    self._queued -= len(data)
                    yield stream, data
                if self._cursor is not None:
                    for item in await self._catch_up(self._cursor):
                        yield item
                elif not self._queue:
                    if self._output.finished or not self._live:
                        return
                    self._wakeup.clear()
                    await self._wakeup.wait()
        finally:
            self._output.detach(self)
            self._keep_up()

    async def _catch_up(self, cursor: Cursor) -> list[tuple[Output, bytes]]:
        entries, cursor = await self._output.log.forward(cursor)
        if self._cursor is None:  # it was closed meanwhile
            return []
        self._cursor = cursor
        items = [(entry.stream, data) for entry in entries if (data := self._missing(entry))]
        if not entries and self._cursor == self._output.log.end():
            # No other task runs between here and the return: the unfinished lines close the gap to the live flow.
            self._keep_up()
            for stream, lines in self._output.lines.items():
                data = lines.unwritten[max(0, self._have[stream] - lines.written) :]
                self._have[stream] = lines.seen
                if data and stream in self._streams and self._live:
                    items.append((stream, data))
        return items

    def _missing(self, entry: Entry) -> bytes:
        """The part of a record that the client does not have."""
        data = entry.data
        if entry.run == self._output.run:
            have = self._have[entry.stream]
            data = data[max(0, len(data) - (entry.end - have)) :] if entry.end > have else b""
            self._have[entry.stream] = max(have, entry.end)
        return data if entry.stream in self._streams else b""
