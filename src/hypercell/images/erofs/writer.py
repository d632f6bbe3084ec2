# SPDX-License-Identifier: Apache-2.0
"""Write directories, xattrs, inodes and the superblock behind the data that a `Spool` has put into an image.

    block 0      superblock
    1 …          data of files, in the order of the layers
                 directories and other bodies that are too large for an inode
                 shared xattrs
    meta_block … inodes, each directory's children side by side, small bodies behind their inodes

The same tree and data give the same bytes.
"""

from __future__ import annotations

import os
import stat
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from hypercell.images.erofs import directory, format
from hypercell.images.erofs.format import BLOCK, COMPACT_SIZE, EXTENDED_SIZE, SLOT
from hypercell.images.erofs.inode import Content, Inode
from hypercell.images.erofs.spool import Appender, Spool
from hypercell.images.erofs.xattr import XattrTable, icount

DIRECTORY_INLINE_MAX = 2048
"""Directories up to this many bytes live in their inodes."""
_FIRST_NID = 2  # 0 would be an inode number that programs take for "deleted"
_CHUNK_ENTRY = 4
_GATHER = 256 << 10


@dataclass(frozen=True, slots=True)
class ImageStats:
    inodes: int
    image_bytes: int


@dataclass(slots=True)
class _Placed:
    """An inode's place and shape, decided before anything is written."""

    inode: Inode
    parent: Inode
    links: int
    size: int
    extended: bool
    xattr_size: int
    layout: int
    block: int = 0
    """First block of the body, unless it is inline or in chunks."""


def _ordered(root: Inode) -> Iterator[tuple[Inode, Inode, int]]:
    """(inode, parent, link count), each inode once: a directory's children together, directories depth first."""
    root.nid = 0
    yield root, root, _directory_links(root)
    pending = [root]
    while pending:
        parent = pending.pop()
        below: list[Inode] = []
        for child in directory.sort_children(parent).values():
            if child.nid >= 0:
                continue
            child.nid = 0
            if child.children is not None:
                below.append(child)
                yield child, parent, _directory_links(child)
            else:
                yield child, parent, child.links
        pending += reversed(below)


def _directory_links(inode: Inode) -> int:
    assert inode.children is not None
    return 2 + sum(child.children is not None for child in inode.children.values())


class ImageWriter:
    """One image, from a tree whose regular files' contents are all in `spool`."""

    def __init__(self, image_fd: int, spool: Spool, uuid: bytes) -> None:
        self._fd = image_fd
        self._spool = spool
        self._uuid = uuid
        self._build_time_ns = 0
        self._chunked = False
        self._late: list[_Placed] = []
        """Whose bodies follow the data: directories, long symlinks, small files that do not fit behind many xattrs."""

    def write(self, root: Inode) -> ImageStats:
        """Errors: `ImageFull`, OSError of the writes."""
        self._spool.close()
        order = list(_ordered(root))
        # Compact inodes have no time of their own, they take the superblock's, which is unsigned: let that be the most
        # common one.
        times = Counter(inode.mtime_ns for inode, _, _ in order if inode.mtime_ns >= 0)
        self._build_time_ns = max(times, key=lambda time: (times[time], time), default=0)
        xattrs = XattrTable(inode.xattrs for inode, _, _ in order if inode.xattrs)
        placed = [self._shape(inode, parent, links, xattrs) for inode, parent, links in order]
        del order
        meta_end = self._place(placed)
        for item in self._late:
            item.block = self._spool.allocate(-(-item.size // BLOCK))
        shared = xattrs.shared_area
        xattr_block = self._spool.allocate(-(-len(shared) // BLOCK)) if shared else 0
        meta_block = self._spool.allocate(-(-meta_end // BLOCK))
        blocks = self._spool.next_block
        first_late = self._late[0].block if self._late else xattr_block or meta_block
        self._write_bodies(first_late, shared)
        self._write_inodes(placed, meta_block, xattrs)
        os.ftruncate(self._fd, blocks * BLOCK)
        block = format.superblock_block(
            root_nid=root.nid,
            inodes=len(placed),
            build_time_ns=self._build_time_ns,
            blocks=blocks,
            meta_block=meta_block,
            xattr_block=xattr_block,
            uuid=self._uuid,
            chunked=self._chunked,
        )
        out = Appender(self._fd, 0)
        out.append(block)
        out.flush()
        return ImageStats(len(placed), blocks * BLOCK)

    def _shape(self, inode: Inode, parent: Inode, links: int, xattrs: XattrTable) -> _Placed:
        content = inode.content
        layout, block = format.FLAT_PLAIN, 0
        inline_max = -1
        if inode.children is not None:
            size, inline_max = directory.size_of(inode), DIRECTORY_INLINE_MAX
        elif inode.target:
            size, inline_max = len(inode.target), BLOCK
        elif content is None:
            size = 0
        else:
            size, block = content.size, content.block
            if content.chunks is not None:
                layout, self._chunked = format.CHUNK_BASED, True
            elif content.inline_at >= 0:
                inline_max = BLOCK
        extended = (
            inode.mtime_ns != self._build_time_ns
            or inode.uid > 0xFFFF
            or inode.gid > 0xFFFF
            or links > 0xFFFF
            or size > 0xFFFFFFFF
        )
        xattr_size = len(xattrs.pack(inode.xattrs)) if inode.xattrs else 0
        placed = _Placed(inode, parent, links, size, extended, xattr_size, layout, block)
        if inline_max >= 0:
            head = (EXTENDED_SIZE if extended else COMPACT_SIZE) + xattr_size
            if size <= inline_max and head + size <= BLOCK:
                placed.layout = format.FLAT_INLINE
            else:
                self._late.append(placed)
        return placed

    def _place(self, placed: list[_Placed]) -> int:
        """Give out nids; returns the bytes that the inodes take.

        An inode and what is inline must not cross a block's end; long xattrs and chunk maps may.
        """
        position = _FIRST_NID * SLOT
        for item in placed:
            head = (EXTENDED_SIZE if item.extended else COMPACT_SIZE) + item.xattr_size
            whole = head + (item.size if item.layout == format.FLAT_INLINE else 0)
            together = whole if whole <= BLOCK else EXTENDED_SIZE
            if position % BLOCK + together > BLOCK:
                position += -position % BLOCK
            item.inode.nid = position // SLOT
            content = item.inode.content
            if item.layout == format.CHUNK_BASED and content is not None and content.chunks is not None:
                whole += _CHUNK_ENTRY * len(content.chunks)
            position += whole + -whole % SLOT
        return position

    def _body(self, item: _Placed) -> bytes:
        inode = item.inode
        if inode.children is not None:
            return directory.encode(inode, item.parent)
        if inode.content is not None:
            return self._spool.inline(inode.content)
        return inode.target

    def _write_bodies(self, block: int, shared: bytes) -> None:
        out = Appender(self._fd, block * BLOCK)
        for item in self._late:
            out.append(self._body(item))
            out.pad(BLOCK)
        out.append(shared)
        out.pad(BLOCK)
        out.flush()

    def _write_inodes(self, placed: list[_Placed], meta_block: int, xattrs: XattrTable) -> None:
        start = meta_block * BLOCK
        out = Appender(self._fd, start)
        pieces: list[bytes] = []
        position = at = 0
        for number, item in enumerate(placed, 1):
            nid_at = item.inode.nid * SLOT
            piece = b"".join((bytes(nid_at - position), self._pack(item, number), xattrs.pack(item.inode.xattrs)))
            if item.layout == format.FLAT_INLINE:
                piece += self._body(item)
            elif item.layout == format.CHUNK_BASED:
                piece += _chunk_map(item.inode.content)
            pieces.append(piece)
            position += len(piece)
            if position - at >= _GATHER:
                out.append(b"".join(pieces))
                pieces, at = [], position
        out.append(b"".join(pieces))
        out.pad(BLOCK)
        out.flush()

    def _pack(self, item: _Placed, number: int) -> bytes:
        inode = item.inode
        content = inode.content
        if item.layout == format.CHUNK_BASED and content is not None:
            where = content.chunk_bits - format.BLOCK_BITS
        elif stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            where = inode.rdev
        else:
            where = item.block
        count = icount(item.xattr_size)
        if not item.extended:
            layout = format.COMPACT | item.layout
            return format.COMPACT_INODE.pack(
                layout, count, inode.mode, item.links, item.size, 0, where, number, inode.uid, inode.gid, 0
            )
        seconds, nanoseconds = divmod(inode.mtime_ns, 10**9)
        return format.EXTENDED_INODE.pack(
            format.EXTENDED | item.layout,
            count,
            inode.mode,
            0,
            item.size,
            where,
            number,
            inode.uid,
            inode.gid,
            seconds,
            nanoseconds,
            item.links,
        )


def _chunk_map(content: Content | None) -> bytes:
    assert content is not None and content.chunks is not None
    chunks = content.chunks
    if sys.byteorder == "big":
        chunks = array("I", chunks)
        chunks.byteswap()
    return chunks.tobytes()
