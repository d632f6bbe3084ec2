# SPDX-License-Identifier: Apache-2.0
"""Extended attributes on disk: in the inode, or once for many inodes in the shared area."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypercell.images.erofs.format import XATTR_ENTRY, XATTR_HEADER, XATTR_PREFIXES
from hypercell.images.erofs.inode import Xattrs

MAX_NAME = 255
MAX_VALUE = 65535
_SHARE_ABOVE = 2
"""Uses of one (name, value) beyond which it is stored once: a shared one costs a second block to be read."""
_MAX_SHARED = 255  # of one inode: a byte counts them


def prefix_of(name: bytes) -> tuple[bytes, int] | None:
    """The name space of an xattr and its number on disk, or None if the format has none for it."""
    for prefix, index in XATTR_PREFIXES:
        if name.startswith(prefix) and (prefix.endswith(b".") or name == prefix):
            return prefix, index
    return None


def _entry(name: bytes, value: bytes) -> bytes:
    found = prefix_of(name)
    assert found is not None
    prefix, index = found
    suffix = name[len(prefix) :]
    packed = XATTR_ENTRY.pack(len(suffix), index, len(value)) + suffix + value
    return packed + bytes(-len(packed) % 4)


class XattrTable:
    """Decides which xattrs are shared, and packs each inode's."""

    def __init__(self, sets: Iterable[Xattrs]) -> None:
        uses: Counter[tuple[bytes, bytes]] = Counter()
        for xattrs in sets:
            uses.update(xattrs)
        self._ids: dict[tuple[bytes, bytes], int] = {}
        area = bytearray()
        for pair, count in uses.items():
            if count > _SHARE_ABOVE:
                self._ids[pair] = len(area) // 4
                area += _entry(*pair)
        self.shared_area = bytes(area)
        """To be stored at `xattr_blkaddr`; ids count its 4-byte units."""
        self._packed: dict[Xattrs, bytes] = {}

    def pack(self, xattrs: Xattrs) -> bytes:
        """What follows the inode: header, ids of shared entries, own entries. Empty if there are none."""
        if not xattrs:
            return b""
        found = self._packed.get(xattrs)
        if found is None:
            ids = [self._ids[pair] for pair in xattrs if pair in self._ids][:_MAX_SHARED]
            shared = set(ids)
            own = [_entry(*pair) for pair in xattrs if self._ids.get(pair, -1) not in shared]
            found = XATTR_HEADER.pack(0, len(ids)) + b"".join(i.to_bytes(4, "little") for i in ids) + b"".join(own)
            self._packed[xattrs] = found
        return found


def icount(packed_size: int) -> int:
    """`i_xattr_icount` for so many bytes of packed xattrs."""
    return (packed_size - XATTR_HEADER.size) // 4 + 1 if packed_size else 0
