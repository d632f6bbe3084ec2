# SPDX-License-Identifier: Apache-2.0
"""Archives for tests: well-formed ones by tarfile, the others byte by byte."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

BLOCK = 512
END = bytes(2 * BLOCK)


def octal(value: int, width: int) -> bytes:
    return f"{value:0{width - 1}o}".encode() + b"\x00"


def base256(value: int, width: int) -> bytes:
    data = value.to_bytes(width, "big", signed=True)
    return bytes([0x80 | data[0]]) + data[1:] if value >= 0 else data


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def checksummed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = octal(sum(block), 7) + b" "
    return bytes(block)


def header(
    name: bytes = b"file",
    kind: bytes = b"0",
    size: int | bytes = 0,
    *,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 0,
    linkname: bytes = b"",
    magic: bytes = b"ustar\x0000",
    major: int = 0,
    minor: int = 0,
    prefix: bytes = b"",
) -> bytes:
    """One header block, each field as given, the checksum right."""

    def field(value: int | bytes, width: int) -> bytes:
        return value if isinstance(value, bytes) else octal(value, width)

    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    block[100:108] = field(mode, 8)
    block[108:116] = field(uid, 8)
    block[116:124] = field(gid, 8)
    block[124:136] = field(size, 12)
    block[136:148] = field(mtime, 12)
    block[156:157] = kind
    block[157 : 157 + len(linkname)] = linkname
    block[257:265] = magic
    if kind in b"34":
        block[329:337] = octal(major, 8)
        block[337:345] = octal(minor, 8)
    block[345 : 345 + len(prefix)] = prefix
    return checksummed(block)


def file(name: bytes, data: bytes = b"", **fields: int | bytes) -> bytes:
    return header(name, b"0", len(data), **fields) + padded(data)  # type: ignore[arg-type]


def directory(name: bytes, mode: int = 0o755) -> bytes:
    return header(name, b"5", mode=mode)


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", linkname=target, mode=0o777)


def link(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", linkname=target)


def record(keyword: bytes, value: bytes) -> bytes:
    body = b" " + keyword + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def extended(data: bytes, kind: bytes = b"x") -> bytes:
    return header(b"PaxHeaders/x", kind, len(data)) + padded(data)


def pax(**records: bytes) -> bytes:
    return extended(b"".join(record(key.replace("__", ".").encode(), value) for key, value in records.items()))


def sparse_records(extents: bytes, size: int | bytes, **more: bytes) -> dict[str, bytes]:
    """The PAX records of a sparse file, format 0.1; `extents` is "offset,length,…"."""
    count = (extents.count(b",") + 1) // 2
    text = size if isinstance(size, bytes) else b"%d" % size
    return {"GNU.sparse.size": text, "GNU.sparse.numblocks": b"%d" % count, "GNU.sparse.map": extents, **more}


def sparse_file(name: bytes, extents: bytes, size: int, data: bytes) -> bytes:
    return pax(**sparse_records(extents, size)) + file(name, data)


def gnu_long(name: bytes, kind: bytes = b"L") -> bytes:
    data = name + b"\x00"
    return header(b"././@LongLink", kind, len(data), magic=b"ustar  \x00") + padded(data)


def archive(*members: bytes) -> bytes:
    return b"".join(members) + END


def by_tarfile(entries: Iterable[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
