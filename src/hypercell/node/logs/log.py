# SPDX-License-Identifier: Apache-2.0
"""The log of one container: numbered segments in a directory, appended to by one writer, read by any number.

Each record is handed to the kernel before it is acknowledged to the guest, so a daemon that is killed loses
nothing. The oldest segment goes when a new one would exceed the limit; a reader that has it open reads on.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypercell.base.crash import crash_point
from hypercell.base.digits import is_digits
from hypercell.node.logs.record import MAX_RECORD, Entry, decode_all, decode_before, encode

log = logging.getLogger(__name__)

SEGMENTS = 5
_WINDOW = 256 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place between two records."""

    segment: int
    offset: int


START = Cursor(0, 0)


class Log:
    def __init__(self, directory: Path, limit: int) -> None:
        """*limit*: bytes on disk. Nothing is touched before the first use."""
        self.directory = directory
        self._segment_limit = max(limit // SEGMENTS, 4 * MAX_RECORD)
        self._file = -1
        self._end: Cursor | None = None
        self._last: Entry | None = None
        self._changed = asyncio.Event()

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
            if size + entry.size > self._segment_limit:
                break
            chunks.append(encode(entry))
            size += entry.size
        if not chunks:
            return 0
        if end.offset + size > self._segment_limit:
            end = self._rotate(end)
        crash_point("log-write")
        self._write(b"".join(chunks), end)
        self._end = Cursor(end.segment, end.offset + size)
        self._last = entries[len(chunks) - 1]
        self.notify()
        return len(chunks)

    def _write(self, data: bytes, end: Cursor) -> None:
        if self._file < 0:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self._path(end.segment), flags, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:] if written else data, end.offset + written)
        except OSError:
            os.ftruncate(self._file, end.offset)
            raise

    def _rotate(self, end: Cursor) -> Cursor:
        self._release()
        self._end = Cursor(end.segment + 1, 0)
        for number in self.segments():
            if number <= self._end.segment - SEGMENTS:
                self._path(number).unlink(missing_ok=True)
        return self._end

    def _recover(self) -> tuple[Cursor, Entry | None]:
        for number in reversed(self.segments()):
            path = self._path(number)
            sound, last = _last_sound(path)
            if sound != path.stat().st_size:
                log.warning("cutting a torn record off %s at %d", path, sound)
                os.truncate(path, sound)
            if last is not None:
                return Cursor(number, sound), last
            path.unlink()
        return Cursor(1, 0), None

    def notify(self) -> None:
        """Wake up everybody who waits for more, or for the end."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        """Let go of the file; a later append opens it again."""
        self._release()
        self.notify()

    # Reading

    def changed(self) -> asyncio.Event:
        """Set at the next append or `notify`. Take it before looking, then wait for it."""
        return self._changed

    def segments(self) -> list[int]:
        try:
            stems = [file.stem for file in self.directory.iterdir() if file.suffix == ".log"]
        except FileNotFoundError:
            return []
        return sorted(int(stem) for stem in stems if is_digits(stem))

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
        try:
            data = _read(self._path(cursor.segment), cursor.offset, min(limit, _WINDOW))
        except FileNotFoundError:
            data = b""
        entries = list(decode_all(data))
        if entries:
            return entries, Cursor(cursor.segment, cursor.offset + sum(entry.size for entry in entries))
        following = [number for number in self.segments() if number > cursor.segment]
        return [], Cursor(following[0], 0) if following else end

    def backward(self, segment: int, end: int) -> tuple[list[Entry], int]:
        """Some records of *segment* before *end*, last first, and the place before them. Blocks; for a thread."""
        start = max(0, end - _WINDOW)
        try:
            data = _read(self._path(segment), start, end - start)
        except FileNotFoundError:
            return [], 0
        entries: list[Entry] = []
        at = len(data)
        while (entry := decode_before(data, at)) is not None:
            entries.append(entry)
            at -= entry.size
        return entries, start + at if entries else 0

    def segment_size(self, segment: int) -> int:
        try:
            return self._path(segment).stat().st_size
        except FileNotFoundError:
            return 0

    def _path(self, segment: int) -> Path:
        return self.directory / f"{segment:08d}.log"


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), length, offset)


def _last_sound(path: Path) -> tuple[int, Entry | None]:
    """Where the last sound record of a file ends, and the record. Reads only the tail of a file that is whole."""
    size = path.stat().st_size
    start = max(0, size - MAX_RECORD)
    tail = _read(path, start, size - start)
    last = decode_before(tail, len(tail))
    if last is not None:
        return size, last
    sound = 0
    with path.open("rb") as file:
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
