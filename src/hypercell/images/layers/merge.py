# SPDX-License-Identifier: Apache-2.0
"""One archive member after the other becomes a file of the tree, its data spooled into the image."""

from __future__ import annotations

import stat

from hypercell.images.erofs import Inode, Spool, Xattrs
from hypercell.images.erofs.format import device_number
from hypercell.images.erofs.xattr import MAX_NAME, MAX_VALUE, prefix_of
from hypercell.images.layers.contract import Limits
from hypercell.images.layers.paths import Path, split
from hypercell.images.layers.tree import Tree
from hypercell.images.tar import LimitExceeded, MalformedArchive, Member, TarReader

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."

_MAX_TARGET = 4095  # PATH_MAX with its NUL
_OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")
_TYPES = {
    "file": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "directory": stat.S_IFDIR,
    "fifo": stat.S_IFIFO,
}


class Merger:
    """Apply layers to a tree, lowest first. Errors: `LayerError`, `ImageFull`, OSError of the spool."""

    def __init__(self, spool: Spool, limits: Limits) -> None:
        self.tree = Tree(limits, self._freed)
        self.content_bytes = 0
        """Sizes of the regular files that are there."""
        self.layer_bytes = 0
        """Of the files that the last layer brought, and lengths of its symlinks' targets."""
        self._spool = spool
        self._limits = limits
        self._members = 0

    def apply(self, archive: TarReader) -> None:
        """One layer, to the end of its archive."""
        self.tree.begin_layer()
        self.layer_bytes = 0
        for member in archive:
            self._members += 1
            if self._members > self._limits.members:
                raise LimitExceeded(f"more than {self._limits.members} members", member.name)
            path = split(member.name, member.name)
            if not self._marker(path, member):
                self._member(path, member, archive)
        self._spool.punch()

    def _freed(self, inode: Inode) -> None:
        if inode.layer == self.tree.layer:  # the layer has replaced what it brought itself
            self.layer_bytes -= _size(inode)
        if inode.content is not None:
            self.content_bytes -= inode.content.size
            self._spool.free(inode.content)

    def _marker(self, path: Path, member: Member) -> bool:
        """Whether the member is not a file but a word about lower layers, or aufs's own bookkeeping."""
        if WHITEOUT not in member.name or not any(part.startswith(WHITEOUT) for part in path):
            return False
        name = path[-1]
        if any(part.startswith(_AUFS) for part in path[:-1]) or (name.startswith(_AUFS) and name != OPAQUE):
            return True
        if any(part.startswith(WHITEOUT) for part in path[:-1]):
            raise MalformedArchive("below a whiteout", member.name)
        if member.kind not in ("file", "link") or member.size:
            raise MalformedArchive("a whiteout that is not an empty file", member.name)
        if name == OPAQUE:
            self.tree.opaque(path[:-1])
            return True
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise MalformedArchive("a whiteout of no name", member.name)
        self.tree.whiteout((*path[:-1], hidden))
        return True

    def _member(self, path: Path, member: Member, archive: TarReader) -> None:
        if member.kind == "link":
            self.tree.link(path, split(member.linkname, member.name, "link target"), member.name)
            return
        inode = Inode(
            _TYPES[member.kind] | member.mode,
            member.uid,
            member.gid,
            member.mtime_ns,
            self._xattrs(member) if member.xattrs else (),
        )
        if member.kind == "file":
            self._file(inode, member, archive)
        elif member.kind == "symlink":
            inode.mode = stat.S_IFLNK | 0o777  # what Linux shows of any symlink
            inode.target = _symlink_target(member)
        elif member.kind in ("char", "block"):
            inode.rdev = _device(member)
        self.layer_bytes += _size(inode)
        self.tree.put(path, inode, member.name)

    def _file(self, inode: Inode, member: Member, archive: TarReader) -> None:
        if member.size > self._limits.file_bytes:
            raise LimitExceeded(f"a file of more than {self._limits.file_bytes} bytes", member.name)
        if member.sparse is None:
            inode.content = self._spool.store(member.size, archive.data())
        else:
            inode.content = self._spool.store_sparse(member.size, member.sparse.extents, archive.data())
        self.content_bytes += member.size

    def _xattrs(self, member: Member) -> Xattrs:
        """Those that the image can hold. overlayfs's own are dropped: they would steer the overlay in the guest, and
        every unpacker onto overlayfs loses them too. So are names outside the kernel's name spaces."""
        kept: list[tuple[bytes, bytes]] = []
        total = 0
        for name, value in sorted(member.xattrs.items()):
            space = prefix_of(name)
            if space is None or name.startswith(_OVERLAY_XATTRS):
                continue
            if len(name) > MAX_NAME or len(value) > MAX_VALUE:
                raise LimitExceeded("an xattr longer than the kernel takes", member.name)
            total += len(name) + len(value)
            kept.append((name, value))
        if total > self._limits.xattr_bytes:
            raise LimitExceeded(f"more than {self._limits.xattr_bytes} bytes of xattrs", member.name)
        return tuple(kept)


def _size(inode: Inode) -> int:
    return inode.content.size if inode.content is not None else len(inode.target)


def _symlink_target(member: Member) -> bytes:
    if not member.linkname:
        raise MalformedArchive("a symlink to nothing", member.name)
    if len(member.linkname) > _MAX_TARGET:
        raise LimitExceeded(f"a symlink target of more than {_MAX_TARGET} bytes", member.name)
    return member.linkname


def _device(member: Member) -> int:
    if member.kind == "char" and member.major == member.minor == 0:
        raise MalformedArchive("a character device 0:0, which is a whiteout to overlayfs", member.name)
    try:
        return device_number(member.major, member.minor)
    except ValueError as error:
        raise MalformedArchive(str(error), member.name) from None
