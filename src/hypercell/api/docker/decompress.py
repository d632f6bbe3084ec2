# SPDX-License-Identifier: Apache-2.0
"""An archive that may be compressed (told by its first bytes, as dockerd does), undone piece by piece.

Never more than one bounded piece is held, so that a bomb fills only what its receiver lets it fill.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

from hypercell.base.errors import InvalidArgument

_PIECE = 256 * 1024
_LONGEST_MAGIC = 6


class _Gzip:
    """zlib's decompressor with the interface of bz2's and lzma's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


_Decoder = _Gzip | bz2.BZ2Decompressor | lzma.LZMADecompressor
_MAGICS: tuple[tuple[bytes, Callable[[], _Decoder]], ...] = (
    (b"\x1f\x8b\x08", _Gzip),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=128 << 20)),
)


async def decompressed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The plain bytes of *chunks*. Raises `InvalidArgument` for a compression that is broken or cut short."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= _LONGEST_MAGIC:
            break
    make = next((make for magic, make in _MAGICS if head.startswith(magic)), None)
    if make is None:
        if head:
            yield head
        async for chunk in chunks:
            yield chunk
        return
    stream = _Members(make)
    for piece in stream.feed(head):
        yield piece
    async for chunk in chunks:
        for piece in stream.feed(chunk):
            yield piece
    if not stream.complete:
        raise InvalidArgument("the archive's compression ends too early")


class _Members:
    """One compressed member after another, as `cat a.gz b.gz` makes them."""

    def __init__(self, make: Callable[[], _Decoder]) -> None:
        self._make = make
        self._decoder: _Decoder | None = make()
        self.complete = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data:
                if self._decoder is None:
                    data = data.lstrip(b"\0")  # padding behind the last member
                    if not data:
                        return
                    self._decoder = self._make()
                    self.complete = False
                decoder = self._decoder
                yield decoder.decompress(data, _PIECE)
                while not decoder.eof and not decoder.needs_input:
                    yield decoder.decompress(b"", _PIECE)
                data = b""
                if decoder.eof:
                    data, self._decoder, self.complete = decoder.unused_data, None, True
        except (OSError, zlib.error, lzma.LZMAError, EOFError) as error:
            raise InvalidArgument(f"the archive's compression is broken: {error}") from None
