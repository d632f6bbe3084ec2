# SPDX-License-Identifier: Apache-2.0
"""The compressed form of a segment, of which any part can be read without unpacking what is before it.

    block …             zlib, each of 256 KiB of the segment (the last of what is left)
    end u64 × blocks    where each block ends in this file
    size u64 | blocks u32 | crc u32

Little-endian. `size` is that of the segment, `crc` the CRC-32 of the ends, of `size` and of `blocks`.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from typing import BinaryIO

BLOCK = 256 * 1024
_FOOTER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_TAIL = _FOOTER.size + _CRC.size
_LEVEL = 3


def pack(source: BinaryIO, target: BinaryIO, go_on: Callable[[], bool]) -> bool:
    """Compress *source* into *target*; False when *go_on* said no in between."""
    ends: list[int] = []
    size = written = 0
    while block := source.read(BLOCK):
        if not go_on():
            return False
        written += target.write(zlib.compress(block, _LEVEL))
        ends.append(written)
        size += len(block)
    index = struct.pack(f"<{len(ends)}Q", *ends) + _FOOTER.pack(size, len(ends))
    target.write(index + _CRC.pack(zlib.crc32(index)))
    return True


def size_of(file: int) -> int:
    """Bytes of the segment behind an open packed file; 0 if it is damaged."""
    return _index(file)[1]


def read(file: int, offset: int, length: int) -> bytes:
    """Bytes of the segment behind an open packed file, fewer than asked for where it ends or is damaged."""
    ends, size = _index(file)
    stop = min(offset + length, size)
    if not 0 <= offset < stop:
        return b""
    found = bytearray()
    first = offset // BLOCK
    for number in range(first, -(-stop // BLOCK)):
        begin = ends[number - 1] if number else 0
        block = _unpacked(os.pread(file, ends[number] - begin, begin))
        found += block
        if len(block) != min(BLOCK, size - number * BLOCK):
            break
    return bytes(found[offset - first * BLOCK : stop - first * BLOCK])


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, BLOCK)
    except zlib.error:
        return b""


def _index(file: int) -> tuple[tuple[int, ...], int]:
    """(ends, size), nothing of a file that is damaged."""
    length = os.fstat(file).st_size
    tail = os.pread(file, _TAIL, max(0, length - _TAIL))
    if len(tail) < _TAIL:
        return (), 0
    size, blocks = _FOOTER.unpack_from(tail)
    begin = length - _TAIL - 8 * blocks
    if begin < 0:
        return (), 0
    index = os.pread(file, length - begin - _CRC.size, begin)
    if zlib.crc32(index) != _CRC.unpack_from(tail, _FOOTER.size)[0]:
        return (), 0
    ends = struct.unpack_from(f"<{blocks}Q", index)
    sound = blocks == -(-size // BLOCK) and list(ends) == sorted(ends) and (not ends or ends[-1] <= begin)
    return (ends, size) if sound else ((), 0)
