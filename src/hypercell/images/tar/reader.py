# SPDX-License-Identifier: Apache-2.0
"""The members of a tar archive, in order, from a stream that is read once.

Where GNU tar, libarchive, Go's archive/tar and Python's tarfile would list different members or different
attributes, the archive is refused: an attacker could otherwise show one content to a scanner and another to us.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypercell.images.tar import pax, sparse
from hypercell.images.tar.errors import LimitExceeded, MalformedArchive
from hypercell.images.tar.header import BLOCK, ZERO_BLOCK, Header, parse, text
from hypercell.images.tar.source import ByteSource
from hypercell.images.tar.sparse import SparseMap

MAX_EXTENSION = 1 << 20
"""Bytes of one extended header or long name; Go's archive/tar has the same bound."""
_MAX_SIZE = 1 << 62
_MAX_ID = (1 << 32) - 2  # (uid_t)-1 means "no user" to the kernel
_MAX_TIME_NS = ((1 << 63) - 1) * 10**9

_DATA_KINDS = (b"0", b"\x00", b"7", b"S")
_KINDS = {b"0": "file", b"\x00": "file", b"7": "file", b"S": "file", b"1": "link", b"2": "symlink", b"3": "char",
          b"4": "block", b"5": "directory", b"6": "fifo"}  # fmt: skip


@dataclass(slots=True)
class Member:
    """One archive member. Names are bytes as they stand in the archive, unchecked as paths."""

    name: bytes
    kind: str
    """file, link (hard), symlink, char, block, directory or fifo."""
    mode: int
    """Permission, setuid, setgid and sticky bits."""
    uid: int
    gid: int
    mtime_ns: int
    size: int
    """Of the file's content, holes included; 0 for all but files."""
    linkname: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes]
    sparse: SparseMap | None


@dataclass(slots=True)
class _Pending:
    """Extensions read so far for the member that comes next."""

    overrides: pax.Overrides | None = None
    long_name: bytes | None = None
    long_link: bytes | None = None

    def any(self) -> bool:
        return self.overrides is not None or self.long_name is not None or self.long_link is not None


@dataclass(slots=True)
class TarReader:
    """Iterate for members; between two steps, `data()` hands out the content of the current one, once.

    Errors: `MalformedArchive`, `LimitExceeded`, and whatever the source raises.
    """

    source: ByteSource
    _globals: pax.Overrides = field(default_factory=pax.Overrides)
    _left: int = 0
    """Bytes of the current member that nobody has read."""
    _padding: int = 0
    _name: bytes = b""

    def __iter__(self) -> Iterator[Member]:
        pending = _Pending()
        while (header := self._header()) is not None:
            if header.kind in b"xgLK":
                self._extension(header, pending)
                continue
            yield self._member(header, pending)
            if self._left:
                self._skip_data()
            self._skip_padding()
            pending = _Pending()
        if pending.any():
            raise MalformedArchive("an extended header without a member after it")

    def data(self) -> Iterator[memoryview]:
        """The stored bytes of the current member: of a sparse file, only the extents, one after the other."""
        for view in self.source.views(self._left):
            self._left -= len(view)
            yield view
        if self._left:
            raise MalformedArchive("truncated in a member's data", self._name)

    def _skip_data(self) -> None:
        for _ in self.data():
            pass

    def _skip_padding(self) -> None:
        if self._padding and len(self.source.take(self._padding)) != self._padding:
            raise MalformedArchive("truncated in a member's padding", self._name)
        self._padding = 0

    def _header(self) -> Header | None:
        """The next header block, or None at the end of the archive, which may lack its two zero blocks."""
        block = self.source.take(BLOCK)
        if block == ZERO_BLOCK:
            second = self.source.take(BLOCK)
            if second and second != ZERO_BLOCK[: len(second)]:
                raise MalformedArchive("a lone zero block, where some readers stop and others go on")
            return None
        if not block:
            return None
        if len(block) < BLOCK:
            raise MalformedArchive("truncated in a header")
        return parse(block)

    def _extension(self, header: Header, pending: _Pending) -> None:
        if header.size > MAX_EXTENSION:
            raise LimitExceeded("an extended header of more than 1 MiB", header.name)
        data = self.source.take(header.size + -header.size % BLOCK)
        if len(data) < header.size + -header.size % BLOCK:
            raise MalformedArchive("truncated in an extended header", header.name)
        padding = data[header.size :]
        data = data[: header.size]
        match header.kind:
            case b"g" if not pending.any():
                self._globals = pax.parse_global(data, self._globals)
            case b"x" if not pending.any():
                pending.overrides = pax.parse_member(data)
            case b"L" if pending.overrides is None and pending.long_name is None:
                pending.long_name = _long(data, padding, header)
            case b"K" if pending.overrides is None and pending.long_link is None:
                pending.long_link = _long(data, padding, header)
            case _:
                # Readers differ on whether an extension applies to another extension, or which of two wins.
                raise MalformedArchive("an extended header between another one and its member", header.name)

    def _member(self, header: Header, pending: _Pending) -> Member:
        own = pending.overrides or self._globals
        name = own.path or pending.long_name or header.name
        self._name = name
        kind = _KINDS.get(header.kind)
        if kind is None:
            raise MalformedArchive(f"member type {header.kind!r} is not one of a file system layer", name)
        stored = _stored_size(header, own.size, name)
        if kind == "file" and name.endswith(b"/"):
            if header.kind != b"\x00" or name != header.name:
                raise MalformedArchive("a file whose name ends in a slash", name)
            kind = "directory"  # v7 had no flag for directories
        if stored and kind != "file":
            raise MalformedArchive(f"a {kind} with data, which some readers skip and others read as headers", name)
        self._left, self._padding = stored, -stored % BLOCK
        hole_map = self._sparse(header, own, stored, name)
        if hole_map is not None and hole_map.name is not None:
            if own.path is not None and b"GNUSparseFile" not in own.path:
                raise MalformedArchive("two names, in PAX path and GNU.sparse.name", name)
            name = self._name = hole_map.name
        return Member(
            name=name,
            kind=kind,
            mode=header.mode,
            uid=_bounded_id(_first(own.uid, self._globals.uid, header.uid), "uid", name),
            gid=_bounded_id(_first(own.gid, self._globals.gid, header.gid), "gid", name),
            mtime_ns=_bounded_time(_first(own.mtime_ns, self._globals.mtime_ns, header.mtime * 10**9), name),
            size=stored if hole_map is None else hole_map.size,
            linkname=(own.linkpath or pending.long_link or header.linkname) if kind in ("link", "symlink") else b"",
            major=header.major,
            minor=header.minor,
            xattrs=own.xattrs,
            sparse=hole_map,
        )

    def _sparse(self, header: Header, own: pax.Overrides, stored: int, name: bytes) -> SparseMap | None:
        if header.kind == b"S":
            if own.sparse or not header.gnu:
                raise MalformedArchive("sparse in two ways, or in an archive that is not GNU's", name)
            return sparse.read_old(header, self.source, name)
        if not own.sparse:
            return None
        if header.kind not in _DATA_KINDS:
            raise MalformedArchive("a sparse map for something that is not a file", name)
        found = sparse.read_pax(own.sparse, stored, self.source, name)
        self._left -= found.map_bytes
        return found


def _long(data: bytes, padding: bytes, header: Header) -> bytes:
    """A GNU long name: ends at its NUL, which must be the last thing in it. Some readers end it at the member's
    size, others read on in the padding, so that must be empty."""
    name = text(data)
    if (data[len(name) :] + padding).strip(b"\x00"):
        raise MalformedArchive("a NUL inside a long name", header.name)
    if not name:
        raise MalformedArchive("an empty long name", header.name)
    return name


def _stored_size(header: Header, override: int | None, name: bytes) -> int:
    """A writer leaves 0 in the header when the size is in PAX, or the same number; two sizes smuggle members."""
    if override is None:
        size = header.size
    elif header.size not in (0, override):
        raise MalformedArchive("PAX size and header size differ", name)
    else:
        size = override
    if size > _MAX_SIZE:
        raise MalformedArchive("a size beyond 64 bits", name)
    return size


def _first(*candidates: int | None) -> int:
    return next(value for value in candidates if value is not None)


def _bounded_id(value: int, what: str, name: bytes) -> int:
    if not 0 <= value <= _MAX_ID:
        raise MalformedArchive(f"{what} {value} is out of range", name)
    return value


def _bounded_time(value: int, name: bytes) -> int:
    if not -_MAX_TIME_NS <= value <= _MAX_TIME_NS:
        raise MalformedArchive("a time beyond 64 bits", name)
    return value
