# SPDX-License-Identifier: Apache-2.0
"""Answer a `LogQuery`: tail, since, until, follow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from hypercell.node.logs.lines import count, split
from hypercell.node.logs.log import START, Cursor, Log
from hypercell.node.logs.record import Entry
from hypercell.node.types import LogQuery, LogRecord, Output


async def read(log: Log, query: LogQuery, live: Callable[[], bool]) -> AsyncIterator[LogRecord]:
    """Records that match, oldest first. With `follow`, goes on until *live* says that nothing more will come."""
    begin, skip = await asyncio.to_thread(_start, log, query, log.end())
    cursor = begin
    while True:
        changed, alive = log.changed(), live()
        entries, cursor = await log.forward(cursor)
        if cursor.segment != begin.segment:  # the record that was to be cut has been rotated away
            skip = 0
        for entry in entries:
            if query.until_ns and entry.time_ns > query.until_ns:
                return
            if _wanted(entry, query):
                lines = split(entry.data)[skip:]
                for number, line in enumerate(lines, 1):
                    yield LogRecord(entry.stream, entry.time_ns, line, number < len(lines))
                skip = 0
        if entries:
            continue
        if not (query.follow and alive):
            return
        if not await _more(changed, query.until_ns):
            return


async def _more(changed: asyncio.Event, until_ns: int) -> bool:
    """Wait for the log to change; False when `until` came first."""
    if not until_ns:
        await changed.wait()
        return True
    try:
        await asyncio.wait_for(changed.wait(), max(0.0, (until_ns - time.time_ns()) / 1e9))
    except TimeoutError:
        return False
    return True


def _wanted(entry: Entry, query: LogQuery) -> bool:
    chosen = query.stdout if entry.stream is Output.STDOUT else query.stderr
    return chosen and entry.time_ns >= query.since_ns


def _start(log: Log, query: LogQuery, end: Cursor) -> tuple[Cursor, int]:
    """Where to begin, and how many lines of the first record that matches to leave out."""
    if query.tail == 0:
        return end, 0
    if query.tail > 0:
        return _tail(log, query, end)
    return _since(log, query.since_ns), 0


def _tail(log: Log, query: LogQuery, end: Cursor) -> tuple[Cursor, int]:
    """Before the last N lines that match, read from the end."""
    left = query.tail
    for segment in reversed(log.segments.numbers()):
        at = end.offset if segment == end.segment else log.segments.size(segment)
        while at > 0:
            entries, before = log.backward(segment, at)
            for entry in entries:
                at -= entry.size
                if entry.time_ns < query.since_ns:
                    return Cursor(segment, at + entry.size), 0
                if _wanted(entry, query) and not (query.until_ns and entry.time_ns > query.until_ns):
                    left -= count(entry.data)
                    if left <= 0:
                        return Cursor(segment, at), -left
            at = before
    return START, 0


def _since(log: Log, since_ns: int) -> Cursor:
    """Skip segments that ended before *since_ns*: those whose successor begins before it."""
    start = START
    if since_ns:
        for segment in log.segments.numbers():
            size = log.segments.size(segment)
            entries, _ = log.backward(segment, size)
            if entries and entries[0].time_ns < since_ns:
                start = Cursor(segment, size)
    return start
