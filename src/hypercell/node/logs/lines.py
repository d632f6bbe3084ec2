# SPDX-License-Identifier: Apache-2.0
"""Cut a stream into lines, as records of the log."""

from __future__ import annotations

from hypercell.node.logs.record import MAX_DATA


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
        """What can be written now: whole lines, pieces of 16 KiB of longer ones, with *last* the rest too."""
        found: list[bytes] = []
        buffer, start = self.unwritten, 0
        while start < len(buffer):
            newline = buffer.find(b"\n", start, start + MAX_DATA)
            if newline >= 0:
                end = newline + 1
            elif last or len(buffer) - start >= MAX_DATA:
                end = min(start + MAX_DATA, len(buffer))
            else:
                break
            found.append(buffer[start:end])
            start = end
        return found

    def commit(self, count: int) -> None:
        """The first *count* bytes are in the log."""
        self.unwritten = self.unwritten[count:]
        self.written += count
