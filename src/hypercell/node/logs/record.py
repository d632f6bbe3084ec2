# SPDX-License-Identifier: Apache-2.0
"""The log's record format.

    length u32 | stream u8 | zero 3 | run u32 | time_ns u64 | stdout_end u64 | stderr_end u64 | crc u32
    data
    total u32

Little-endian. `run` counts the starts of the container. `*_end` are the absolute offsets of both streams of that
run behind this record, so the last record alone tells where each stream has to continue. `crc` is CRC-32 over the
header's first 36 bytes and the data. `total` is the length of the whole record, so that a log can be read backwards.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from hypercell.node.types import Output

MAX_DATA = 16 * 1024
"""docker's longest piece of a line."""
_HEADER = struct.Struct("<IB3xIQQQ")
_CRC = struct.Struct("<I")
OVERHEAD = _HEADER.size + 2 * _CRC.size
MAX_RECORD = MAX_DATA + OVERHEAD


@dataclass(frozen=True, slots=True)
class Entry:
    stream: Output
    run: int
    time_ns: int
    stdout_end: int
    stderr_end: int
    data: bytes
    """Lines that came at once, or a piece of a line; 16 KiB at most."""

    @property
    def end(self) -> int:
        """Absolute offset in its own stream behind the data."""
        return self.stdout_end if self.stream is Output.STDOUT else self.stderr_end

    @property
    def size(self) -> int:
        return OVERHEAD + len(self.data)


def encode(entry: Entry) -> bytes:
    header = _HEADER.pack(len(entry.data), entry.stream, entry.run, entry.time_ns, entry.stdout_end, entry.stderr_end)
    crc = zlib.crc32(entry.data, zlib.crc32(header))
    return b"".join((header, _CRC.pack(crc), entry.data, _CRC.pack(entry.size)))


def decode(buffer: bytes, at: int) -> Entry | None:
    """The record that begins at *at*, or None if there is no whole and sound one."""
    if len(buffer) - at < OVERHEAD:
        return None
    length, stream, run, time_ns, stdout_end, stderr_end = _HEADER.unpack_from(buffer, at)
    data_at = at + _HEADER.size + _CRC.size
    if length > MAX_DATA or stream not in (1, 2) or len(buffer) < data_at + length + _CRC.size:
        return None
    data = buffer[data_at : data_at + length]
    crc = zlib.crc32(data, zlib.crc32(buffer[at : at + _HEADER.size]))
    if _CRC.unpack_from(buffer, at + _HEADER.size)[0] != crc:
        return None
    if _CRC.unpack_from(buffer, data_at + length)[0] != length + OVERHEAD:
        return None
    return Entry(Output(stream), run, time_ns, stdout_end, stderr_end, data)


def decode_before(buffer: bytes, end: int) -> Entry | None:
    """The record that ends at *end*, or None."""
    if end < OVERHEAD:
        return None
    total = _CRC.unpack_from(buffer, end - _CRC.size)[0]
    if not OVERHEAD <= total <= min(MAX_RECORD, end):
        return None
    entry = decode(buffer, end - total)
    return entry if entry is not None and entry.size == total else None


def decode_all(buffer: bytes) -> Iterator[Entry]:
    """Records from the beginning of *buffer* up to the first that is not whole."""
    at = 0
    while (entry := decode(buffer, at)) is not None:
        yield entry
        at += entry.size
