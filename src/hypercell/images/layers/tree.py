# SPDX-License-Identifier: Apache-2.0
"""The merged file system, in memory: what the layers so far add up to (image-spec `layer.md`).

Paths are purely lexical. Nothing is ever looked up through a symlink, so there is nothing to escape to: a member
below a lower layer's symlink or file replaces it by a directory, as overlayfs would show it; below one of its own
layer it is refused, because unpackers differ there.
"""

from __future__ import annotations

import stat
from collections.abc import Callable

from hypercell.images.erofs import Inode
from hypercell.images.layers.contract import Limits
from hypercell.images.layers.paths import Path
from hypercell.images.tar import LimitExceeded, MalformedArchive

_IMPLIED_MODE = stat.S_IFDIR | 0o755
_NAME_COST = 64
_INODE_COST = 64
"""Bytes that a name and an inode count for beyond their text, in `Limits.metadata_bytes`."""


class Tree:
    """Apply layers from the lowest up: `begin_layer`, then the layer's members in their order.

    `freed` is told of each file whose last name has gone. Errors: `MalformedArchive`, `LimitExceeded`.
    """

    def __init__(self, limits: Limits, freed: Callable[[Inode], None]) -> None:
        self.root = Inode(_IMPLIED_MODE)
        self.inodes = 1
        self.metadata_bytes = 0
        self._limits = limits
        self._freed = freed
        self._layer = 0
        self._relinked: set[tuple[int, bytes]] = set()
        """Names (id of the directory, name) that this layer gave to files of lower layers."""

    @property
    def layer(self) -> int:
        """The number of the layer that is being applied; `Inode.layer` tells to which a file belongs."""
        return self._layer

    def begin_layer(self) -> None:
        self._layer += 1
        self._relinked = set()

    def put(self, path: Path, inode: Inode, member: bytes) -> None:
        """A member. The last of several with one path wins, as with every unpacker; two directories are one."""
        inode.layer = inode.listed = self._layer
        if not path:
            if inode.children is None:
                raise MalformedArchive("the root is not a directory", member)
            self._update(self.root, inode)
            return
        directory, name = self._parent(path, member), path[-1]
        assert directory.children is not None
        old = directory.children.get(name)
        if old is not None and old.children is not None and inode.children is not None:
            self._update(old, inode)
            return
        if old is not None:
            self._remove(directory, name)
        if inode.children is not None:
            self._deepen(inode, directory, member)
        self._add(directory, name, inode, member)
        self._count_inode(inode, member)

    def link(self, path: Path, target: Path, member: bytes) -> None:
        """A hard link to a file that is there already, from this layer or a lower one."""
        inode = self._find(target, member)
        if inode.children is not None:
            raise MalformedArchive("a hard link to a directory", member)
        if path == target:
            raise MalformedArchive("a hard link to itself", member)
        if not path:
            raise MalformedArchive("the root is not a directory", member)
        inode.links += 1  # before the old name goes, which may be its last other one
        directory, name = self._parent(path, member), path[-1]
        assert directory.children is not None
        if name in directory.children:
            self._remove(directory, name)
        self._add(directory, name, inode, member)
        if inode.layer != self._layer:
            self._relinked.add((id(directory), name))

    def whiteout(self, path: Path) -> None:
        """Hide what lower layers have at `path`; what this layer has there stays, whichever came first."""
        directory = self._existing_directory(path[:-1])
        if directory is not None:
            self._hide_lower(directory, path[-1])

    def opaque(self, path: Path) -> None:
        """Hide what lower layers have in the directory `path`, all of it."""
        directory = self._existing_directory(path)
        if directory is not None and directory.children:
            for name in list(directory.children):
                self._hide_lower(directory, name)

    # What follows keeps the counts.

    def _parent(self, path: Path, member: bytes) -> Inode:
        """The directory that `path` stands in, made if need be. All on the way to it belongs to this layer now."""
        directory = self.root
        directory.layer = self._layer
        for name in path[:-1]:
            assert directory.children is not None
            child = directory.children.get(name)
            if child is None or child.children is None:
                if child is not None:
                    if self._is_upper(directory, name, child):
                        raise MalformedArchive("below something that is not a directory in the same layer", member)
                    self._remove(directory, name)
                child = Inode(_IMPLIED_MODE)
                self._deepen(child, directory, member)
                self._add(directory, name, child, member)
                self._count_inode(child, member)
            child.layer = self._layer
            directory = child
        return directory

    def _find(self, path: Path, member: bytes) -> Inode:
        inode = self.root
        for name in path:
            if inode.children is None:
                raise MalformedArchive("a hard link through something that is not a directory", member)
            child = inode.children.get(name)
            if child is None:
                raise MalformedArchive("a hard link to what is not there", member)
            inode = child
        return inode

    def _existing_directory(self, path: Path) -> Inode | None:
        inode = self.root
        for name in path:
            child = inode.children.get(name) if inode.children is not None else None
            if child is None:
                return None
            inode = child
        return inode if inode.children is not None else None

    def _is_upper(self, directory: Inode, name: bytes, child: Inode) -> bool:
        return child.layer == self._layer or (id(directory), name) in self._relinked

    def _hide_lower(self, directory: Inode, name: bytes) -> None:
        pending = [(directory, name)]
        while pending:
            parent, name = pending.pop()
            child = parent.children.get(name) if parent.children is not None else None
            if child is None:
                continue
            if not self._is_upper(parent, name, child):
                self._remove(parent, name)
            elif child.children is not None:
                if child.listed != self._layer:
                    # Only its contents are of this layer: as if it had just been implied by them.
                    self._update(child, Inode(_IMPLIED_MODE))
                    child.layer = self._layer
                pending += [(child, below) for below in child.children]

    def _update(self, directory: Inode, attributes: Inode) -> None:
        """The directory stays, with its children, and gets new attributes."""
        self.metadata_bytes += _xattr_bytes(attributes) - _xattr_bytes(directory)
        directory.mode = attributes.mode
        directory.uid, directory.gid = attributes.uid, attributes.gid
        directory.mtime_ns, directory.xattrs = attributes.mtime_ns, attributes.xattrs
        directory.layer, directory.listed = attributes.layer, attributes.listed

    def _deepen(self, inode: Inode, parent: Inode, member: bytes) -> None:
        inode.depth = parent.depth + 1
        if inode.depth > self._limits.depth:
            raise LimitExceeded(f"more than {self._limits.depth} directories deep", member)

    def _add(self, directory: Inode, name: bytes, inode: Inode, member: bytes) -> None:
        assert directory.children is not None
        directory.children[name] = inode
        self._count_bytes(_NAME_COST + len(name), member)

    def _count_inode(self, inode: Inode, member: bytes) -> None:
        self.inodes += 1
        if self.inodes > self._limits.inodes:
            raise LimitExceeded(f"more than {self._limits.inodes} files", member)
        self._count_bytes(_own_bytes(inode), member)

    def _count_bytes(self, count: int, member: bytes) -> None:
        self.metadata_bytes += count
        if self.metadata_bytes > self._limits.metadata_bytes:
            raise LimitExceeded(f"more than {self._limits.metadata_bytes} bytes of names, links and xattrs", member)

    def _remove(self, directory: Inode, name: bytes) -> None:
        """Take a name away, with everything below it."""
        pending = [(directory, name)]
        while pending:
            parent, name = pending.pop()
            assert parent.children is not None
            inode = parent.children.pop(name)
            self._relinked.discard((id(parent), name))
            self.metadata_bytes -= _NAME_COST + len(name)
            if inode.children is not None:
                pending += [(inode, below) for below in inode.children]
            inode.links -= 1
            if inode.links == 0:
                self.inodes -= 1
                self.metadata_bytes -= _own_bytes(inode)
                self._freed(inode)


def _xattr_bytes(inode: Inode) -> int:
    return sum(len(name) + len(value) for name, value in inode.xattrs)


def _own_bytes(inode: Inode) -> int:
    content = inode.content
    chunks = 4 * len(content.chunks) if content is not None and content.chunks is not None else 0
    return _INODE_COST + len(inode.target) + _xattr_bytes(inode) + chunks
