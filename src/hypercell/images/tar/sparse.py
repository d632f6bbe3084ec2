# SPDX-License-Identifier: Apache-2.0
"""Holes: GNU's `S` header and the PAX formats 0.0, 0.1, 1.0 (GNU tar manual, "Storing Sparse Files")."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.images.tar.errors import LimitExceeded, MalformedArchive
from hypercell.images.tar.header import BLOCK, Header, number
from hypercell.images.tar.pax import Record, decimal
from hypercell.images.tar.source import ByteSource

MAX_EXTENTS = 1 << 18
"""Of one file. More would be a file of mostly map."""

Extent = tuple[int, int]
"""(offset in the file, length) of bytes that are there."""


@dataclass(frozen=True, slots=True)
class SparseMap:
    extents: tuple[Extent, ...]
    size: int
    """Apparent size of the file."""
    name: bytes | None = None
    """The file's real name, where the header has a made-up one."""
    map_bytes: int = 0
    """How much of the member's data was its map (format 1.0)."""


def _checked(pairs: list[Extent], size: int, stored: int, member: bytes) -> tuple[Extent, ...]:
    """Extents in order, apart, inside the file, and as long together as the data that is stored."""
    position = 0
    for offset, length in pairs:
        if offset < position or offset + length > size:
            raise MalformedArchive("a sparse map with extents out of order, overlapping or past the end", member)
        position = offset + length
    if sum(length for _, length in pairs) != stored:
        raise MalformedArchive("a sparse map that does not account for the stored bytes", member)
    return tuple(pair for pair in pairs if pair[1])


def _old_pairs(block: bytes, start: int, count: int, member: bytes) -> list[Extent]:
    pairs: list[Extent] = []
    for at in range(start, start + 24 * count, 24):
        if not block[at + 12]:  # the table ends early, as GNU tar has it
            break
        offset = number(block[at : at + 12], "sparse offset", member)
        length = number(block[at + 12 : at + 24], "sparse length", member)
        if offset < 0 or length < 0:
            raise MalformedArchive("a negative number in a sparse map", member)
        pairs.append((offset, length))
    return pairs


def read_old(header: Header, source: ByteSource, member: bytes) -> SparseMap:
    """The map of an `S` member: 4 extents in the header, 21 in each extension block that follows it."""
    block = header.block
    pairs = _old_pairs(block, 386, 4, member)
    more = block[482]
    size = number(block[483:495], "real size", member)
    while more:
        block = source.take(BLOCK)
        if len(block) < BLOCK:
            raise MalformedArchive("truncated in a sparse map", member)
        pairs += _old_pairs(block, 0, 21, member)
        if len(pairs) > MAX_EXTENTS:
            raise LimitExceeded(f"more than {MAX_EXTENTS} extents in a sparse file", member)
        more = block[504]
    if size < 0:
        raise MalformedArchive("negative size", member)
    return SparseMap(_checked(pairs, size, header.size, member), size)


def read_pax(words: list[Record], stored: int, source: ByteSource, member: bytes) -> SparseMap:
    """The map that `GNU.sparse.` records describe; `stored` is the member's size in the archive, in bytes."""
    single = {key: value for key, value in words if key not in (b"offset", b"numbytes")}
    name = single.get(b"name")
    if name is not None and (not name or b"\x00" in name):
        raise MalformedArchive("a GNU.sparse.name that is empty or has a NUL", member)
    if b"major" in single or b"minor" in single:
        if (single.get(b"major"), single.get(b"minor")) != (b"1", b"0"):
            raise MalformedArchive("an unknown version of GNU.sparse", member)
        size = decimal(single.get(b"realsize", b""), "GNU.sparse.realsize", member)
        pairs, map_bytes = _leading_map(source, stored, member)
        return SparseMap(_checked(pairs, size, stored - map_bytes, member), size, name, map_bytes)
    size = decimal(single.get(b"size", b""), "GNU.sparse.size", member)
    if b"map" in single:
        numbers = [decimal(n, "GNU.sparse.map", member) for n in single[b"map"].split(b",")] if single[b"map"] else []
    else:
        keys = [key for key, _ in words if key in (b"offset", b"numbytes")]
        if keys != [b"offset", b"numbytes"] * (len(keys) // 2):
            raise MalformedArchive("GNU.sparse.offset and numbytes do not alternate", member)
        numbers = [decimal(value, "GNU.sparse", member) for key, value in words if key in (b"offset", b"numbytes")]
    if len(numbers) % 2:
        raise MalformedArchive("a GNU.sparse.map with half an extent", member)
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if decimal(single.get(b"numblocks", b""), "GNU.sparse.numblocks", member) != len(pairs):
        raise MalformedArchive("GNU.sparse.numblocks does not count the map", member)
    return SparseMap(_checked(pairs, size, stored, member), size, name)


def _leading_map(source: ByteSource, stored: int, member: bytes) -> tuple[list[Extent], int]:
    """Format 1.0: the data begins with a count and the numbers, a line each, padded to a block."""
    numbers: list[int] = []
    wanted, rest, used = 1, b"", 0
    while len(numbers) < wanted:
        if used + BLOCK > stored:
            raise MalformedArchive("a sparse map longer than the member", member)
        block = source.take(BLOCK)
        if len(block) < BLOCK:
            raise MalformedArchive("truncated in a sparse map", member)
        used += BLOCK
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > BLOCK:
            raise MalformedArchive("a sparse map without line ends", member)
        for line in lines[: wanted - len(numbers) if numbers else len(lines)]:
            numbers.append(decimal(line, "sparse map", member))
            if len(numbers) == 1:
                if numbers[0] > MAX_EXTENTS:
                    raise LimitExceeded(f"more than {MAX_EXTENTS} extents in a sparse file", member)
                wanted = 1 + 2 * numbers[0]
            if len(numbers) == wanted:
                break
    return list(zip(numbers[1::2], numbers[2::2], strict=True)), used
