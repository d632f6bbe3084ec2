# SPDX-License-Identifier: Apache-2.0
"""Directories on disk: blocks of entries followed by their names, sorted by bytes so that the kernel can bisect."""

from __future__ import annotations

from collections.abc import Sequence

from hypercell.images.erofs.format import BLOCK, DIRENT, FT_DIR
from hypercell.images.erofs.inode import Inode

Entry = tuple[bytes, int, int]
"""(name, nid, file type)"""


def sort_children(directory: Inode) -> dict[bytes, Inode]:
    """Put the children in the order of the disk, and return them."""
    assert directory.children is not None
    directory.children = dict(sorted(directory.children.items()))
    return directory.children


def _fill(names: Sequence[bytes]) -> list[tuple[int, int]]:
    """(first, end) of the names of each block."""
    blocks: list[tuple[int, int]] = []
    first = used = 0
    for index, name in enumerate(names):
        need = DIRENT.size + len(name)
        if used + need > BLOCK:
            blocks.append((first, index))
            first, used = index, 0
        used += need
    blocks.append((first, len(names)))
    return blocks


def _names(directory: Inode) -> list[bytes]:
    assert directory.children is not None
    return sorted([*directory.children, b".", b".."])


def size_of(directory: Inode) -> int:
    """Bytes of a directory on disk: whole blocks, and the part of the last one that is used."""
    names = _names(directory)
    blocks = _fill(names)
    first, end = blocks[-1]
    return (len(blocks) - 1) * BLOCK + sum(DIRENT.size + len(name) for name in names[first:end])


def encode(directory: Inode, parent: Inode) -> bytes:
    """A directory's data, when all its children have nids."""
    assert directory.children is not None
    entries: dict[bytes, tuple[int, int]] = {b".": (directory.nid, FT_DIR), b"..": (parent.nid, FT_DIR)}
    for name, child in directory.children.items():
        entries[name] = child.nid, child.file_type
    names = sorted(entries)
    blocks: list[bytes] = []
    for first, end in _fill(names):
        block = names[first:end]
        offset = DIRENT.size * len(block)
        parts: list[bytes] = []
        for name in block:
            nid, kind = entries[name]
            parts.append(DIRENT.pack(nid, offset, kind))
            offset += len(name)
        blocks.append(b"".join(parts + block))
    return b"".join([*(block.ljust(BLOCK, b"\x00") for block in blocks[:-1]), blocks[-1]])
