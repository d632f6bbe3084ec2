# SPDX-License-Identifier: Apache-2.0
"""Cut a stream into records at the ends of lines, and records into lines.

A record holds as many lines as came at once: they have one time, and cost one header.
"""

from __future__ import annotations

from hypercell.node.logs.record import MAX_DATA


def split(data: bytes) -> list[bytes]:
    """The lines of a record, each with its newline; the last may be a piece of a longer one."""
    *lines, rest = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


def count(data: bytes) -> int:
    """How many `split` finds."""
    return data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))


class Lines:
    """Bytes of one stream that were seen but are not in the log yet: at most one read and one unfinished line."""

    def __init__(self, start: int = 0) -> None:
        self.written = start
        """Absolute offset below which everything is in the log."""
        self.unwritten = b""

    @property
    def seen(self) -> int:
        return self.written + len(self.unwritten)

    def add(self, data: bytes) -> None:
        self.unwritten += data

    def skip_to(self, offset: int) -> None:
        """A guest that forgot bytes before they were acknowledged has lost them: count them all the same."""
        self.written += max(0, offset - self.seen)

    def pieces(self, last: bool = False) -> list[bytes]:
        """What can be written now, 16 KiB at most each: whole lines, as many as fit; a piece of a longer line; with
        *last* the rest too."""
        found: list[bytes] = []
        buffer, start = self.unwritten, 0
        while start < len(buffer):
            end = buffer.rfind(b"\n", start, start + MAX_DATA) + 1
            if not end:
                end = min(start + MAX_DATA, len(buffer))
                if end - start < MAX_DATA and not last:
                    break
            found.append(buffer[start:end])
            start = end
        return found

    def commit(self, length: int) -> None:
        """The first *length* bytes are in the log."""
        self.unwritten = self.unwritten[length:]
        self.written += length

    def drop_to(self, room: int) -> None:
        """Forget the oldest lines beyond *room* bytes, as if they had been written."""
        excess = len(self.unwritten) - room
        if excess > 0:
            self.commit(self.unwritten.find(b"\n", excess - 1) + 1 or excess)
