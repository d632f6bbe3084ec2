# SPDX-License-Identifier: Apache-2.0
"""The log of one container: numbered segments in a directory, appended to by one writer, read by any number.

Each record is handed to the kernel before it is acknowledged to the guest, so a daemon that is killed loses
nothing. The oldest segment goes when a new one would exceed the limit, and never the one before the new one, which
tells a successor where the streams stand; a reader whose segment is gone reads on in the next.

A log that is not kept (docker's `none`) holds where the streams stand, and no byte of theirs but for clients that read
too slowly to be served from memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from hypercell.base.crash import crash_point
from hypercell.node.logs.record import MAX_RECORD, Entry, decode_all, decode_before, encode
from hypercell.node.logs.rotation import Rotation
from hypercell.node.logs.segments import Segments

log = logging.getLogger(__name__)

_WINDOW = 256 * 1024
_POSITIONS = 64 * 1024
"""Bytes of records without data, after which a log that is not kept begins anew."""
_PACKER = ThreadPoolExecutor(1, "log-pack")
"""One for all containers: to compress is never urgent, and the CPUs are the guests'."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place between two records."""

    segment: int
    offset: int


START = Cursor(0, 0)


class Log:
    def __init__(self, directory: Path, rotation: Rotation, kept: bool = True) -> None:
        """Nothing is touched before the first use."""
        self.segments = Segments(directory)
        self.kept = kept
        self._rotation = rotation
        self._file = -1
        self._end: Cursor | None = None
        self._oldest = 0
        self._last: Entry | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._packing: Future[None] | None = None
        self._held = 0
        self._spooled = True
        """There may be data in it, though it is not kept."""

    # Writing

    def end(self) -> Cursor:
        """Behind the last whole record. On first use, cuts off a torn one that a killed daemon left."""
        if self._end is None:
            self._end, self._last = self._recover()
        return self._end

    def positions(self, run: int) -> tuple[int, int]:
        """Absolute offsets of stdout and stderr of that run behind what is in the log."""
        self.end()
        if self._last is None or self._last.run != run:
            return 0, 0
        return self._last.stdout_end, self._last.stderr_end

    def append(self, entries: Sequence[Entry]) -> int:
        """Write the first entries, all that one write may hold; returns how many. Raises `OSError` (the disk is full)
        with nothing written."""
        end = self.end()
        chunks: list[bytes] = []
        size = 0
        for entry in entries:
            stored = entry if self.kept or self._held else replace(entry, data=b"")
            if chunks and size + stored.size > self._rotation.size:
                break
            chunks.append(encode(stored))
            size += stored.size
        if not chunks:
            return 0
        if end.offset and end.offset + size > self._rotation.size:
            end = self._rotate(end)
        crash_point("log-write")
        self._write(b"".join(chunks), end)
        self._end = Cursor(end.segment, end.offset + size)
        self._last = entries[len(chunks) - 1]
        self._spooled = self._spooled or bool(self._held)
        self._forget()
        self.notify()
        return len(chunks)

    def _write(self, data: bytes, end: Cursor) -> None:
        if self._file < 0:
            self.segments.directory.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self.segments.plain(end.segment), flags, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:] if written else data, end.offset + written)
        except OSError:
            os.ftruncate(self._file, end.offset)
            raise

    def _rotate(self, end: Cursor) -> Cursor:
        crash_point("log-rotate")
        self._release()
        self._end = Cursor(end.segment + 1, 0)
        while self._oldest <= self._end.segment - self._rotation.files:
            self._oldest += 1
            self.segments.remove(self._oldest - 1)
            crash_point("log-rotated-away")
        if self._rotation.compress and not self._closed and (self._packing is None or self._packing.done()):
            self._packing = _PACKER.submit(self.segments.pack_before, self._end.segment, self._wanted)
        return self._end

    def _wanted(self, segment: int) -> bool:
        return segment >= self._oldest and not self._closed

    def hold(self) -> None:
        """Until `let_go`, data are kept whatever was asked for: a client reads them here."""
        self._held += 1

    def let_go(self) -> None:
        self._held -= 1
        self._forget()

    def _forget(self) -> None:
        """Of a log that is not kept, keep only where the streams stand."""
        end = self._end
        if self.kept or self._held or self._closed or self._last is None or end is None:
            return
        if not self._spooled and end.offset <= _POSITIONS:
            return
        following = Cursor(end.segment + 1, 0)
        position = encode(replace(self._last, data=b""))
        self._release()
        try:
            self._write(position, following)
            self._end = replace(following, offset=len(position))
            crash_point("log-forget")
            while self._oldest < following.segment:
                self.segments.remove(self._oldest)
                self._oldest += 1
                crash_point("log-forgotten")
        except OSError:  # the disk is full: what is there stays until it is not
            if self._end == end:
                self._release()
            return
        self._spooled = False

    def _recover(self) -> tuple[Cursor, Entry | None]:
        self.segments.tidy()
        numbers = self.segments.numbers()
        end, last = self._last_record(numbers)
        self._oldest = numbers[0] if numbers else end.segment
        return end, last

    def _last_record(self, numbers: list[int]) -> tuple[Cursor, Entry | None]:
        for number in reversed(numbers):
            path = self.segments.plain(number)
            if not path.exists():
                size = self.segments.size(number)
                start = max(0, size - MAX_RECORD)
                tail = self.segments.read(number, start, size - start)
                if (last := decode_before(tail, len(tail))) is not None:
                    return Cursor(number + 1, 0), last
                log.warning("%s cannot be read: it is removed", self.segments.packed(number))
                self.segments.remove(number)
                continue
            sound, last = self._last_sound(number)
            if sound != path.stat().st_size:
                log.warning("cutting a torn record off %s at %d", path, sound)
                os.truncate(path, sound)
            if last is not None:
                return Cursor(number, sound), last
            path.unlink()
        return Cursor(1, 0), None

    def _last_sound(self, number: int) -> tuple[int, Entry | None]:
        """Where the last sound record of a plain file ends, and it. Of one that is whole reads only the tail."""
        size = self.segments.size(number)
        start = max(0, size - MAX_RECORD)
        tail = self.segments.read(number, start, size - start)
        last = decode_before(tail, len(tail))
        if last is not None:
            return size, last
        sound = 0
        with self.segments.plain(number).open("rb") as file:
            rest = b""
            while chunk := file.read(_WINDOW):
                rest += chunk
                used = 0
                for entry in decode_all(rest):
                    used += entry.size
                    last = entry
                sound += used
                rest = rest[used:]
                if len(rest) >= MAX_RECORD:
                    break
        return sound, last

    def notify(self) -> None:
        """Wake up everybody who waits for more, or for the end."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        """Let go of the file; a later append opens it again. Compressing stops."""
        self._closed = True
        self._release()
        self.notify()

    async def settle(self) -> None:
        """After `close`: wait, for a moment, until nothing is being compressed any more."""
        if self._packing is not None and not self._packing.cancel():
            await asyncio.to_thread(wait, [self._packing])

    # Reading

    def changed(self) -> asyncio.Event:
        """Set at the next append or `notify`. Take it before looking, then wait for it."""
        return self._changed

    async def forward(self, cursor: Cursor) -> tuple[list[Entry], Cursor]:
        """Some records from *cursor* on, and the place behind them; none at the end of the log."""
        end = self.end()
        while cursor < end:
            entries, cursor = await asyncio.to_thread(self._forward, cursor, end)
            if entries:
                return entries, cursor
        return [], cursor

    def _forward(self, cursor: Cursor, end: Cursor) -> tuple[list[Entry], Cursor]:
        limit = end.offset - cursor.offset if cursor.segment == end.segment else _WINDOW
        data = self.segments.read(cursor.segment, cursor.offset, min(limit, _WINDOW))
        entries = list(decode_all(data))
        if entries:
            return entries, Cursor(cursor.segment, cursor.offset + sum(entry.size for entry in entries))
        following = [number for number in self.segments.numbers() if number > cursor.segment]
        return [], Cursor(following[0], 0) if following else end

    def backward(self, segment: int, end: int) -> tuple[list[Entry], int]:
        """Some records of *segment* before *end*, last first, and the place before them. Blocks; for a thread."""
        start = max(0, end - _WINDOW)
        data = self.segments.read(segment, start, end - start)
        entries: list[Entry] = []
        at = len(data)
        while (entry := decode_before(data, at)) is not None:
            entries.append(entry)
            at -= entry.size
        return entries, start + at if entries else 0
