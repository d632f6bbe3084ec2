# SPDX-License-Identifier: Apache-2.0
"""The 512-byte header block: v7, POSIX ustar (IEEE 1003.1 `pax`, "ustar Interchange Format") and GNU.

Numbers are octal digits, or base-256 with the top bit set (GNU). Fields that GNU tar, libarchive and others read
differently are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.images.tar.errors import MalformedArchive

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

POSIX_MAGIC = b"ustar\x00"
GNU_MAGIC = b"ustar  \x00"
V7_MAGIC = bytes(8)

_NO_DEVICE = b"0 \x00"
_CHECKSUM_BLANK = 8 * ord(" ")


@dataclass(slots=True)
class Header:
    """A header block, its numbers parsed and its strings cut at their first NUL."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    kind: bytes
    """The type flag, one byte."""
    linkname: bytes
    major: int
    minor: int
    gnu: bool
    block: bytes
    """The raw block, for the formats that keep more in it (GNU sparse)."""


def text(field: bytes) -> bytes:
    """A string field: what precedes the first NUL, or all of it."""
    end = field.find(0)
    return field if end < 0 else field[:end]


def number(field: bytes, what: str, member: bytes = b"") -> int:
    """A numeric field. An empty one is 0, as every reader has it; negative only in base-256."""
    first = field[0]
    if first & 0x80:
        if first == 0x80:
            return int.from_bytes(field[1:], "big")
        if first == 0xFF:
            return int.from_bytes(field, "big", signed=True)
        raise MalformedArchive(f"{what} is a base-256 number that readers decode differently", member)
    digits = text(field).strip(b" ")
    if not digits:
        return 0
    if digits.strip(b"01234567"):  # int() would also take signs, underscores and prefixes
        raise MalformedArchive(f"{what} is not an octal number", member)
    return int(digits, 8)


def _verify_checksum(block: bytes, name: bytes) -> None:
    stored = number(block[148:156], "checksum", name)
    plain = sum(block) - sum(block[148:156]) + _CHECKSUM_BLANK
    if stored == plain:
        return
    # Some old tars summed signed characters; every reader accepts both.
    rest = block[:148] + block[156:]
    if stored != plain - 256 * sum(byte > 127 for byte in rest):
        raise MalformedArchive("wrong header checksum", name)


def parse(block: bytes) -> Header:
    """Parse a header block of 512 bytes that is not all zero. Errors: `MalformedArchive`."""
    name = text(block[:100])
    _verify_checksum(block, name)
    magic = block[257:265]
    gnu = magic == GNU_MAGIC
    if magic.startswith(POSIX_MAGIC):
        prefix = text(block[345:500])
        if block[508:512] == b"tar\x00" and len(prefix) > 130:
            raise MalformedArchive("a prefix that star and ustar cut differently", name)
        if prefix:
            name = prefix + b"/" + name
    elif not gnu and magic != V7_MAGIC:
        raise MalformedArchive("unknown magic in the header", name)
    header = Header(
        name=name,
        mode=number(block[100:108], "mode", name) & 0o7777,
        uid=number(block[108:116], "uid", name),
        gid=number(block[116:124], "gid", name),
        size=number(block[124:136], "size", name),
        mtime=number(block[136:148], "mtime", name),
        kind=block[156:157],
        linkname=text(block[157:257]),
        major=0,
        minor=0,
        gnu=gnu,
        block=block,
    )
    if magic != V7_MAGIC and block[329:345].strip(_NO_DEVICE):  # of anything else it must at least be a number
        header.major = number(block[329:337], "device major", name)
        header.minor = number(block[337:345], "device minor", name)
    if header.size < 0:
        raise MalformedArchive("negative size", name)
    return header
