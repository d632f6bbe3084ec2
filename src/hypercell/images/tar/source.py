# SPDX-License-Identifier: Apache-2.0
"""An exact reader over an iterator of byte chunks: the stream below the archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class ByteSource:
    """Reads exact amounts from `chunks`. File data is handed out as views of the chunks, never copied."""

    __slots__ = ("_chunks", "_end", "_position", "_view", "offset")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._view = memoryview(b"")
        self._position = 0
        self._end = 0
        self.offset = 0
        """Bytes handed out so far."""

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._view = memoryview(chunk)
                self._position = 0
                self._end = len(chunk)
                return True
        return False

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end of the stream."""
        start = self._position
        if start + count <= self._end:
            self._position = start + count
            self.offset += count
            return bytes(self._view[start : start + count])
        return b"".join(self.views(count))

    def views(self, count: int) -> Iterator[memoryview]:
        """Views that make up the next `count` bytes, fewer only at the end of the stream."""
        while count:
            if self._position == self._end and not self._more():
                return
            start = self._position
            size = min(count, self._end - start)
            self._position = start + size
            self.offset += size
            count -= size
            yield self._view[start : start + size]

    def skip(self, count: int) -> int:
        """Pass over `count` bytes and return how many there were."""
        return sum(len(view) for view in self.views(count))

    def drain(self) -> None:
        """Read to the end of the stream."""
        self.offset += self._end - self._position
        self._position = self._end
        for chunk in self._chunks:
            self.offset += len(chunk)
