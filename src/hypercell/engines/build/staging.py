# SPDX-License-Identifier: Apache-2.0
"""A tar from somewhere, staged: its members in memory, their content in one file that has no name.

The tar is a stranger's: it is read once, by stream, with the strict reader that layers are read with, and nothing of it
ever becomes a path of this machine. Whatever becomes of the daemon, the staging file goes with its descriptor.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from hypercell.base.errors import InvalidArgument, NoSpace
from hypercell.engines.build.tree import Entry, Tree
from hypercell.images.archives.bridge import read_in_thread
from hypercell.images.layers import Expansion, Limits, decompress
from hypercell.images.tar import ByteSource, LayerError, Member, TarReader
from hypercell.images.threads import in_thread

MAX_BYTES = 32 << 30
"""Of the contents of one tar, holes included."""
_LIMITS = Limits()
_PIECE = 64 * 1024
_READ = 1 << 20
_SPACE_CHECK = 16 << 20
_ZEROES = bytes(_READ)


class Staged:
    """Close it."""

    def __init__(self, file: BinaryIO, tree: Tree) -> None:
        self.tree = tree
        self._file = file

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def content(self, entry: Entry) -> AsyncIterator[bytes]:
        """Of a file, in pieces of 64 KiB at most."""
        at, end = entry.offset, entry.offset + entry.size
        while at < end:
            data = await in_thread(os.pread, self._file.fileno(), min(_READ, end - at), at)
            if not data:
                raise OSError("the staging file is shorter than it was")
            at += len(data)
            for start in range(0, len(data), _PIECE):
                yield data[start : start + _PIECE]

    async def read(self, entry: Entry, limit: int) -> bytes:
        """A small file. Raises `InvalidArgument`."""
        if entry.size > limit:
            raise InvalidArgument(f"the file is larger than {limit} bytes")
        return b"".join([piece async for piece in self.content(entry)])


class Staging:
    """Where tars are staged."""

    def __init__(self, directory: Path, reserve: int) -> None:
        self._directory = directory
        self._reserve = reserve

    async def stage(self, body: AsyncIterator[bytes], name: Callable[[str], str | None] = str) -> Staged:
        """*body*: a tar, compressed or not. *name*: what a member is called in the tree; None leaves it out.

        Raises `InvalidArgument`, `NoSpace`.
        """
        return await read_in_thread(body, lambda stream: self._stage(stream, name))

    async def unpacked(self, staged: Staged, entry: Entry) -> Staged | None:
        """A file that is itself an archive; None if it is none."""
        start = b"".join([piece async for piece in staged.content(_first(entry, 1 << 20))])
        if not await in_thread(_is_archive, start):
            return None
        return await self.stage(staged.content(entry))

    def holding(self, name: str, data: bytes) -> Staged:
        """One small file."""
        file, tree = self._file(), Tree()
        file.write(data)
        file.flush()
        tree.add(name, Entry("file", 0o644, size=len(data), mtime_ns=time.time_ns()))
        return Staged(file, tree)

    def _file(self) -> BinaryIO:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self._directory)

    def _stage(self, stream: BinaryIO, name: Callable[[str], str | None]) -> Staged:
        file = self._file()
        try:
            bounds = Expansion(2 * MAX_BYTES, _LIMITS.ratio, _LIMITS.ratio_floor, _LIMITS.frames)
            source = ByteSource(decompress(stream, bounds))
            filler = _Filler(file, self._directory, self._reserve, name)
            try:
                reader = TarReader(source)
                for member in reader:
                    filler.take(member, reader.data())
                source.drain()
            except LayerError as error:
                raise InvalidArgument(f"not a usable archive: {error.rule}", "send a tar") from error
            file.flush()
            return Staged(file, filler.tree)
        except BaseException:
            file.close()
            raise


def _first(entry: Entry, size: int) -> Entry:
    return Entry("file", 0, size=min(entry.size, size), offset=entry.offset)


def _is_archive(start: bytes) -> bool:
    """As dockerd: whatever can be uncompressed, or not, to the header of a member."""
    try:
        bounds = Expansion(_LIMITS.ratio_floor, _LIMITS.ratio, _LIMITS.ratio_floor)
        data = next(iter(decompress(BytesIO(start), bounds)), b"")
        return next(iter(TarReader(ByteSource([data]))), None) is not None
    except LayerError:
        return False


class _Filler:
    """Members into a tree, and their content into a file."""

    def __init__(self, file: BinaryIO, directory: Path, reserve: int, name: Callable[[str], str | None]) -> None:
        self.tree = Tree()
        self._file = file
        self._directory = directory
        self._reserve = reserve
        self._name = name
        self._size = 0
        self._unchecked = _SPACE_CHECK

    def take(self, member: Member, data: Iterable[memoryview]) -> None:
        path = self._path(member.name)
        if path is None:
            return
        if path == "" and member.kind != "directory":
            raise InvalidArgument("the archive has a file in place of its root")
        if member.kind == "link":
            self.tree.add(path, self._linked(member))
        elif member.kind == "file":
            self.tree.add(path, self._stored(member, data))
        elif path:
            self.tree.add(path, _entry(member))

    def _path(self, name: bytes) -> str | None:
        if len(name) > 4096:
            raise InvalidArgument("the archive has a name of more than 4096 bytes")
        text = name.decode(errors="surrogateescape")
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise InvalidArgument(f"the archive has a name that leaves it: {text[:200]!a}")
        return self._name("/".join(parts))

    def _linked(self, member: Member) -> Entry:
        target = self._path(member.linkname)
        found = self.tree.entries.get(target) if target is not None else None
        if found is None or found.kind == "directory":
            raise InvalidArgument(f"the archive has a hard link to nothing: {member.linkname[:200]!r}")
        return found

    def _stored(self, member: Member, data: Iterable[memoryview]) -> Entry:
        start, found = self._size, hashlib.sha256()
        if start + member.size > MAX_BYTES:
            raise InvalidArgument(
                f"the files are larger than {MAX_BYTES >> 30} GiB", "leave out what is not needed: .dockerignore"
            )
        if member.sparse is None:
            for view in data:
                self._write(view, found)
        else:
            self._write_sparse(member, data, found)
        return _entry(member, size=self._size - start, offset=start, digest=found.hexdigest())

    def _write_sparse(self, member: Member, data: Iterable[memoryview], found: hashlib._Hash) -> None:
        assert member.sparse is not None
        stored = ByteSource(bytes(view) for view in data)
        at = 0
        for offset, length in (*member.sparse.extents, (member.size, 0)):
            while at < offset:
                hole = memoryview(_ZEROES)[: min(_READ, offset - at)]
                self._write(hole, found)
                at += len(hole)
            for view in stored.views(length):
                self._write(view, found)
            at += length

    def _write(self, view: memoryview, found: hashlib._Hash) -> None:
        self._unchecked += len(view)
        if self._unchecked >= _SPACE_CHECK:
            self._unchecked = 0
            if shutil.disk_usage(self._directory).free < self._reserve + _SPACE_CHECK:
                raise NoSpace("not enough space for what is to be copied", "remove images or containers, or copy less")
        self._file.write(view)
        found.update(view)
        self._size += len(view)


def _entry(member: Member, size: int = 0, offset: int = 0, digest: str = "") -> Entry:
    kept = ((name, value) for name, value in member.xattrs.items() if not name.startswith(b"trusted.overlay."))
    return Entry(
        kind=member.kind,
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        mtime_ns=member.mtime_ns,
        size=size,
        offset=offset,
        digest=digest,
        link=member.linkname.decode(errors="surrogateescape"),
        major=member.major,
        minor=member.minor,
        xattrs=tuple(sorted((_text(name), _text(value)) for name, value in kept)),
    )


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
