# SPDX-License-Identifier: Apache-2.0
"""File data goes straight into the image while the archive streams by: nothing of it is held in memory.

Block 0 is left for the superblock, data follows from block 1, in the order in which it comes, each file in
consecutive blocks. Small files, which end up inside their inodes, wait in a scratch file until the inodes are written.
"""

from __future__ import annotations

import ctypes
import errno
import os
from array import array
from collections.abc import Iterable, Iterator

from hypercell.images.erofs.format import BLOCK, BLOCK_BITS, MAX_BLOCKS, MAX_CHUNK_BITS, NULL_BLOCK
from hypercell.images.erofs.inode import Content

INLINE_MAX = 2048
"""Files up to this many bytes live in their inodes; `docs/adr/0006` has the measurements."""
DENSE_MAX = 64 << 10
"""Sparse files up to this size are stored with their holes filled: a map would not pay."""
MAX_CHUNKS = 1 << 16
"""Chunks of one sparse file; its chunk size grows with its size."""

_FLUSH_BYTES = 1 << 20
_FLUSH_PIECES = 1000  # IOV_MAX is 1024
_HOLE = 64 << 10
_ZEROS = bytes(_HOLE)
_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01

Extents = tuple[tuple[int, int], ...]


class ImageFull(Exception):
    """The image would be larger than it may be."""


class Appender:
    """Writes views one after another into a file, many with one system call. Long runs of zeros become holes."""

    __slots__ = ("_fd", "_pieces", "_start", "position")

    def __init__(self, fd: int, position: int) -> None:
        self._fd = fd
        self._pieces: list[memoryview | bytes] = []
        self._start = position
        self.position = position
        """Where the next byte goes."""

    def append(self, view: memoryview | bytes) -> None:
        size = len(view)
        if size >= _HOLE:
            self._append_long(memoryview(view))
            return
        self._pieces.append(view)
        self.position += size
        if self.position - self._start >= _FLUSH_BYTES or len(self._pieces) >= _FLUSH_PIECES:
            self.flush()

    def _append_long(self, view: memoryview) -> None:
        start = 0
        for at in range(0, len(view), _HOLE):
            piece = view[at : at + _HOLE]
            if piece[0] == 0 and piece[-1] == 0 and piece.tobytes() == _ZEROS[: len(piece)]:
                self._keep(view[start:at])
                self.seek(self.position + len(piece))
                start = at + len(piece)
        self._keep(view[start:])

    def _keep(self, view: memoryview) -> None:
        if view:
            self._pieces.append(view)
            self.position += len(view)
            if self.position - self._start >= _FLUSH_BYTES or len(self._pieces) >= _FLUSH_PIECES:
                self.flush()

    def pad(self, alignment: int) -> None:
        """Zeros up to the next multiple of `alignment` (at most 64 KiB)."""
        if rest := -self.position % alignment:
            self.append(_ZEROS[:rest])

    def seek(self, position: int) -> None:
        """Leave a hole."""
        self.flush()
        self.position = self._start = position

    def flush(self) -> None:
        pieces = self._pieces
        at = self._start
        while at < self.position:
            written = os.pwritev(self._fd, pieces, at)
            at += written
            if at < self.position:
                pieces = _after(pieces, written)
        self._pieces = []
        self._start = self.position


def _after(pieces: list[memoryview | bytes], written: int) -> list[memoryview | bytes]:
    """What is left of `pieces` when the kernel took only `written` bytes."""
    for index, piece in enumerate(pieces):
        if written < len(piece):
            return [memoryview(piece)[written:], *pieces[index + 1 :]]
        written -= len(piece)
    return []


class Spool:
    """Files' data in the image `image_fd`, small files in `scratch_fd`; both empty, readable and writable.

    Errors: `ImageFull` beyond `max_bytes`, and OSError of the writes.
    """

    def __init__(self, image_fd: int, scratch_fd: int, max_bytes: int) -> None:
        self._fd = image_fd
        self._scratch_fd = scratch_fd
        self._max_blocks = min(max_bytes >> BLOCK_BITS, MAX_BLOCKS)
        self._image = Appender(image_fd, BLOCK)
        self._scratch = Appender(scratch_fd, 0)
        self._dead: list[tuple[int, int]] = []
        self.next_block = 1

    def allocate(self, blocks: int) -> int:
        """The first of `blocks` new consecutive blocks."""
        first = self.next_block
        if first + blocks > self._max_blocks:
            raise ImageFull(f"the root image would be larger than {self._max_blocks << BLOCK_BITS} bytes")
        self.next_block = first + blocks
        return first

    def store(self, size: int, views: Iterable[memoryview]) -> Content | None:
        """Take a file of `size` bytes, all of which `views` must hold. None: it is empty."""
        if size == 0:
            return None
        if size <= INLINE_MAX:
            at = self._scratch.position
            for view in views:
                self._scratch.append(view)
            return Content(size, inline_at=at)
        blocks = -(-size // BLOCK)
        first = self.allocate(blocks)
        append = self._image.append
        for view in views:
            append(view)
        self._image.pad(BLOCK)
        return Content(size, block=first, blocks=blocks)

    def store_sparse(self, size: int, extents: Extents, views: Iterable[memoryview]) -> Content | None:
        """Take a file of `size` bytes of which only `extents`, in order, hold data; `views` are their bytes."""
        if size <= DENSE_MAX or extents == ((0, size),):
            return self.store(size, _dense(size, extents, views))
        bits = BLOCK_BITS
        while (size - 1) >> bits >= MAX_CHUNKS:
            bits += 1
        if bits > MAX_CHUNK_BITS:
            raise ImageFull("a sparse file too large for the format")
        chunks = array("I", [NULL_BLOCK]) * (((size - 1) >> bits) + 1)
        stream = _Slicer(views)
        first = self.next_block
        for offset, length in extents:
            self._allocate_chunks(chunks, bits, size, offset, length)
            # Chunks are given out in the order of the file, so those of one extent follow each other on disk.
            self._image.seek((chunks[offset >> bits] << BLOCK_BITS) + (offset & ((1 << bits) - 1)))
            for view in stream.take(length):
                self._image.append(view)
        self._image.seek(self.next_block << BLOCK_BITS)
        return Content(size, block=first, blocks=self.next_block - first, chunks=chunks, chunk_bits=bits)

    def _allocate_chunks(self, chunks: array[int], bits: int, size: int, offset: int, length: int) -> None:
        for index in range(offset >> bits, ((offset + length - 1) >> bits) + 1):
            if chunks[index] == NULL_BLOCK:
                rest = size - (index << bits)
                chunks[index] = self.allocate(min(1 << (bits - BLOCK_BITS), -(-rest // BLOCK)))

    def free(self, content: Content) -> None:
        """The file is gone: give its blocks back when `punch` is called next."""
        if content.blocks:
            self._dead.append((content.block, content.blocks))

    def punch(self) -> None:
        """Turn freed blocks into holes; where the file system cannot, into zeros, so the image is the same."""
        if self._dead:
            self._image.flush()
        for block, blocks in self._dead:
            _punch(self._fd, block << BLOCK_BITS, blocks << BLOCK_BITS)
        self._dead = []

    def close(self) -> int:
        """All data is in the file. Returns the first block after it."""
        self.punch()
        self._image.flush()
        self._scratch.flush()
        return self.next_block

    def inline(self, content: Content) -> bytes:
        """A small file's bytes, after `close`."""
        return os.pread(self._scratch_fd, content.size, content.inline_at)


class _Slicer:
    """Cuts a stream of views to measure."""

    def __init__(self, views: Iterable[memoryview]) -> None:
        self._views = iter(views)
        self._rest = memoryview(b"")

    def take(self, count: int) -> Iterator[memoryview]:
        while count:
            view = self._rest or next(self._views)
            yield view[:count]
            self._rest = view[count:]
            count -= min(count, len(view))


def _dense(size: int, extents: Extents, views: Iterable[memoryview]) -> Iterator[memoryview]:
    """A sparse file's bytes with its holes filled; holes are at most `DENSE_MAX` long."""
    stream = _Slicer(views)
    position = 0
    for offset, length in extents:
        if offset > position:
            yield memoryview(_ZEROS)[: offset - position]
        yield from stream.take(length)
        position = offset + length
    if size > position:
        yield memoryview(_ZEROS)[: size - position]


_libc = ctypes.CDLL(None, use_errno=True)


def _punch(fd: int, offset: int, length: int) -> None:
    arguments = ctypes.c_int(fd), ctypes.c_int(_PUNCH_HOLE | _KEEP_SIZE), ctypes.c_int64(offset), ctypes.c_int64(length)
    if _libc.fallocate(*arguments) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(code, os.strerror(code))
    end = offset + length
    while offset < end:
        offset += os.pwrite(fd, _ZEROS[: end - offset], offset)
