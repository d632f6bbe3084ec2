# SPDX-License-Identifier: Apache-2.0
"""What is to be copied as a PAX tar, for the guest to unpack."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from hypercell.engines.build.staging import Staged
from hypercell.engines.build.tree import Entry

_TYPES = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Packed:
    """A member: where it goes, below the root, and what it is."""

    name: str
    entry: Entry
    staged: Staged | None = None
    """What holds a file's content."""
    keeps_owner: bool = False
    mode: int | None = None
    """Instead of its own."""


async def pack(members: Iterable[Packed]) -> AsyncIterator[bytes]:
    for member in members:
        yield _header(member)
        entry = member.entry
        if entry.kind == "file" and member.staged is not None:
            async for piece in member.staged.content(entry):
                yield piece
            yield bytes(-entry.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _header(member: Packed) -> bytes:
    entry = member.entry
    info = tarfile.TarInfo(member.name)
    info.type = _TYPES[entry.kind]
    info.mode = entry.mode if member.mode is None or entry.kind == "symlink" else member.mode
    info.size = entry.size if entry.kind == "file" else 0
    info.linkname = entry.link if entry.kind == "symlink" else ""
    info.devmajor, info.devminor = entry.major, entry.minor
    if member.keeps_owner:
        info.uid, info.gid = entry.uid, entry.gid
    info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in entry.xattrs}
    info.pax_headers["mtime"] = _time(entry.mtime_ns)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _time(nanoseconds: int) -> str:
    sign, count = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    seconds, rest = divmod(count, 10**9)
    return f"{sign}{seconds}.{rest:09d}" if rest else f"{sign}{seconds}"
