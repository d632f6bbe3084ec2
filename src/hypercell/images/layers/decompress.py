# SPDX-License-Identifier: Apache-2.0
"""Uncompress a layer as it streams by, with a bound on what a small blob may turn into.

The format is told by the first bytes: gzip (RFC 1952, any number of members, as eStargz has one per file), zstd
(RFC 8878, frames and skippable frames), xz, bzip2; anything else is taken for a plain tar archive.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from backports import zstd

from hypercell.images.layers.contract import MIB
from hypercell.images.tar import LimitExceeded, MalformedArchive

READ_SIZE = 256 << 10
OUTPUT_SIZE = 1 << 20
_FIRST_STEP = 1 << 10
_MAX_STEP = 128 << 10
_ZSTD_WINDOW_LOG = 27  # 128 MiB, the bound that the zstd command line has
_XZ_MEMORY = 256 * MIB


class _Decoder(Protocol):
    """One member, frame or stream; the shape that bz2, lzma and zstd share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor in that shape."""

    __slots__ = ("_zlib",)

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail or data, max_length)


def _zstd() -> _Decoder:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def sniff(start: bytes) -> str:
    """gzip, zstd, xz, bzip2 or none, by the first 4 bytes or more of a blob."""
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    # A skippable frame may come first (zstd:chunked, pzstd).
    if start[:4] == b"\x28\xb5\x2f\xfd" or (start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50):
        return "zstd"
    if start[:4] == b"\xfd7zX":
        return "xz"
    return "bzip2" if start[:3] == b"BZh" else "none"


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": _Gzip,
    "zstd": _zstd,
    "xz": _xz,
    "bzip2": bz2.BZ2Decompressor,
}
_PADDED = ("gzip", "xz")
"""Zero bytes after a frame are padding; elsewhere they are garbage."""
_ZEROS = re.compile(rb"\x00+")
_ERRORS = (zlib.error, zstd.ZstdError, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError)


@dataclass(slots=True)
class Expansion:
    """Bounds on the output of one blob, and a count of what has gone by. All in bytes, but `frames`."""

    max_output: int
    ratio: int
    """Output may be this many times the input read so far, or `ratio_floor` if that is more."""
    ratio_floor: int
    max_frames: int = 1 << 20
    read: int = 0
    written: int = 0
    frames: int = 0

    def output(self, count: int) -> None:
        self.written += count
        if self.written > self.max_output:
            raise LimitExceeded(f"more than {self.max_output} bytes when uncompressed")
        if self.written > self.ratio_floor and self.written > self.ratio * self.read:
            raise LimitExceeded(f"more than {self.ratio} times its compressed size when uncompressed")

    def frame(self) -> None:
        self.frames += 1
        if self.frames > self.max_frames:
            raise LimitExceeded(f"more than {self.max_frames} compressed members")


def decompress(stream: BinaryIO, expansion: Expansion) -> Iterator[bytes]:
    """The uncompressed bytes of `stream`, in chunks of at most about 1 MiB.

    Errors: `MalformedArchive` (corrupt, truncated, garbage after the last frame), `LimitExceeded`.
    """
    start = stream.read(READ_SIZE)
    expansion.read += len(start)
    name = sniff(start)
    if name == "none":
        yield from _plain(start, stream, expansion)
        return
    try:
        for chunk in _decode(start, stream, name, expansion):
            expansion.output(len(chunk))
            yield chunk
    except _CorruptError as error:
        raise MalformedArchive(f"corrupt {name} data ({error})") from error


def _plain(start: bytes, stream: BinaryIO, expansion: Expansion) -> Iterator[bytes]:
    chunk = start
    while chunk:
        expansion.output(len(chunk))
        yield chunk
        chunk = stream.read(OUTPUT_SIZE)
        expansion.read += len(chunk)


class _CorruptError(Exception):
    """A decoder's complaint, apart from the errors of the stream that it reads."""


def _feed(decoder: _Decoder, data: bytes) -> bytes:
    try:
        return decoder.decompress(data, OUTPUT_SIZE)
    except _ERRORS as error:
        raise _CorruptError(str(error) or type(error).__name__) from error


def _zeros_end(chunk: bytes, position: int) -> int:
    found = _ZEROS.match(chunk, position)
    return found.end() if found else position


def _drain(decoder: _Decoder, data: bytes) -> Iterator[bytes]:
    """All output that `data` gives."""
    output = _feed(decoder, data)
    while output:
        yield output
        if decoder.eof or (decoder.needs_input and len(output) < OUTPUT_SIZE):
            return
        output = _feed(decoder, b"")


def _decode(start: bytes, stream: BinaryIO, name: str, expansion: Expansion) -> Iterator[bytes]:
    """Frame after frame. Input goes in by growing steps, because what a frame leaves over is copied each time:
    a blob of a million tiny frames must not cost a million copies of a whole buffer."""
    chunk, position, step = start, 0, _FIRST_STEP
    decoder: _Decoder | None = None
    while chunk:
        if decoder is None:
            if name in _PADDED:
                position = _zeros_end(chunk, position)
            if position < len(chunk):
                expansion.frame()
                decoder, step = _DECODERS[name](), _FIRST_STEP
        if decoder is not None:
            fed = chunk[position : position + step]
            position += len(fed)
            step = min(2 * step, _MAX_STEP)
            yield from _drain(decoder, fed)
            if decoder.eof:
                position -= len(decoder.unused_data)
                decoder = None
        if position >= len(chunk):
            chunk, position = stream.read(READ_SIZE), 0
            expansion.read += len(chunk)
    if decoder is not None:
        raise _CorruptError("truncated")
