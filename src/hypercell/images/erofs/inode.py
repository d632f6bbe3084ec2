# SPDX-License-Identifier: Apache-2.0
"""A file of the tree that is to be written: its attributes, and where its data was put."""

from __future__ import annotations

import stat
from array import array

from hypercell.images.erofs import format

Xattrs = tuple[tuple[bytes, bytes], ...]
"""(name with its prefix, value), sorted by name."""

_FILE_TYPES: dict[int, int] = {
    stat.S_IFREG: format.FT_REG,
    stat.S_IFDIR: format.FT_DIR,
    stat.S_IFCHR: format.FT_CHR,
    stat.S_IFBLK: format.FT_BLK,
    stat.S_IFIFO: format.FT_FIFO,
    stat.S_IFSOCK: format.FT_SOCK,
    stat.S_IFLNK: format.FT_SYMLINK,
}


class Content:
    """Where a regular file's bytes are. One of three: whole in the inode (`inline_at` is its place in the scratch
    file), in consecutive blocks from `block`, or in chunks of 2**chunk_bits bytes, some of them holes."""

    __slots__ = ("block", "blocks", "chunk_bits", "chunks", "inline_at", "size")

    def __init__(
        self,
        size: int,
        block: int = 0,
        blocks: int = 0,
        inline_at: int = -1,
        chunks: array[int] | None = None,
        chunk_bits: int = 0,
    ) -> None:
        self.size = size
        self.block = block
        self.blocks = blocks
        self.inline_at = inline_at
        self.chunks = chunks
        self.chunk_bits = chunk_bits


class Inode:
    """One file of any type. Hard links are one Inode under several names; `links` counts them.

    A directory counts 1 here while it exists; the link count that the kernel wants is computed when writing.
    """

    __slots__ = (
        "children",
        "content",
        "depth",
        "gid",
        "layer",
        "links",
        "listed",
        "mode",
        "mtime_ns",
        "nid",
        "rdev",
        "target",
        "uid",
        "xattrs",
    )

    def __init__(
        self,
        mode: int,
        uid: int = 0,
        gid: int = 0,
        mtime_ns: int = 0,
        xattrs: Xattrs = (),
        *,
        content: Content | None = None,
        target: bytes = b"",
        rdev: int = 0,
    ) -> None:
        self.mode = mode
        """As stat has it, type included."""
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.xattrs = xattrs
        self.content = content
        """Of a regular file; None if it is empty."""
        self.target = target
        """Of a symlink."""
        self.rdev = rdev
        """Of a device, in the kernel's encoding."""
        self.children: dict[bytes, Inode] | None = {} if stat.S_ISDIR(mode) else None
        self.links = 1
        self.depth = 0
        """Of a directory: directories above it."""
        self.nid = -1
        """Where it stands in the image, once that is known."""
        self.layer = 0
        """The layer that made it or, for a directory, put something into it last."""
        self.listed = 0
        """Of a directory: the layer that has a member for it."""

    @property
    def is_dir(self) -> bool:
        return self.children is not None

    @property
    def file_type(self) -> int:
        """The directory entry's type number."""
        return _FILE_TYPES[stat.S_IFMT(self.mode)]
