# SPDX-License-Identifier: Apache-2.0
"""An EROFS reader of its own, in plain steps from the kernel's description of the format, to check what we write."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from pathlib import Path

BLOCK = 4096
PREFIXES = {1: b"user.", 2: b"system.posix_acl_access", 3: b"system.posix_acl_default", 4: b"trusted.", 6: b"security."}
TYPES = {1: stat.S_IFREG, 2: stat.S_IFDIR, 3: stat.S_IFCHR, 4: stat.S_IFBLK, 5: stat.S_IFIFO, 7: stat.S_IFLNK}


@dataclass
class File:
    nid: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    links: int
    size: int
    rdev: int
    layout: int
    extended: bool
    xattrs: dict[bytes, bytes]
    block: int
    body_at: int
    """Byte after the inode and its xattrs."""

    @property
    def kind(self) -> int:
        return stat.S_IFMT(self.mode)


class ErofsImage:
    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        magic, bits, self.root_nid = struct.unpack_from("<I8xBxH", self.data, 1024)
        self.inodes, self.time, self.time_ns = struct.unpack_from("<QQI", self.data, 1024 + 16)
        self.blocks, self.meta, self.xattr = struct.unpack_from("<III", self.data, 1024 + 36)
        assert magic == 0xE0F5E1E2 and bits == 12
        assert len(self.data) == self.blocks * BLOCK
        self.uuid = self.data[1024 + 48 : 1024 + 64]

    def file(self, nid: int) -> File:
        at = self.meta * BLOCK + nid * 32
        form, icount, mode = struct.unpack_from("<HHH", self.data, at)
        extended = bool(form & 1)
        if extended:
            size, where, _, uid, gid, seconds, nanoseconds, links = struct.unpack_from("<QIIIIqII", self.data, at + 8)
        else:
            links, size, _, where, _, uid, gid = struct.unpack_from("<HIIIIHH", self.data, at + 6)
            seconds, nanoseconds = self.time, self.time_ns
        inode_size = 64 if extended else 32
        assert at % BLOCK + inode_size <= BLOCK, "an inode across a block's end"
        xattr_size = 12 + 4 * (icount - 1) if icount else 0
        is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        return File(
            nid=nid,
            mode=mode,
            uid=uid,
            gid=gid,
            mtime_ns=seconds * 10**9 + nanoseconds,
            links=links,
            size=size,
            rdev=where if is_device else 0,
            layout=form >> 1,
            extended=extended,
            xattrs=self._xattrs(at + inode_size, xattr_size),
            block=where,
            body_at=at + inode_size + xattr_size,
        )

    def _entry(self, at: int) -> tuple[bytes, bytes, int]:
        name_len, index, value_len = struct.unpack_from("<BBH", self.data, at)
        name = PREFIXES[index] + self.data[at + 4 : at + 4 + name_len]
        end = at + 4 + name_len + value_len
        return name, self.data[at + 4 + name_len : end], end + -end % 4

    def _xattrs(self, at: int, size: int) -> dict[bytes, bytes]:
        if not size:
            return {}
        shared = self.data[at + 4]
        found = {}
        for i in range(shared):
            (ident,) = struct.unpack_from("<I", self.data, at + 12 + 4 * i)
            name, value, _ = self._entry(self.xattr * BLOCK + 4 * ident)
            found[name] = value
        position, end = at + 12 + 4 * shared, at + size
        while position < end:
            name, value, position = self._entry(position)
            found[name] = value
        assert position == end
        return found

    def content(self, file: File) -> bytes:
        if file.layout == 0:
            start = file.block * BLOCK
            return self.data[start : start + file.size]
        if file.layout == 2:
            assert file.size <= BLOCK
            assert file.body_at % BLOCK + file.size <= BLOCK, "inline data across a block's end"
            return self.data[file.body_at : file.body_at + file.size]
        assert file.layout == 4
        bits = 12 + (file.block & 0x1F)
        parts = []
        for index in range(-(-file.size // (1 << bits))):
            length = min(1 << bits, file.size - (index << bits))
            (block,) = struct.unpack_from("<I", self.data, file.body_at + 4 * index)
            part = bytes(length) if block == 0xFFFFFFFF else self.data[block * BLOCK : block * BLOCK + length]
            assert len(part) == length
            parts.append(part)
        return b"".join(parts)

    def directory(self, file: File) -> dict[bytes, int]:
        """name -> nid, `.` and `..` included; order and types are checked."""
        data = self.content(file)
        names: list[bytes] = []
        found: dict[bytes, int] = {}
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK]
            count = struct.unpack_from("<QH", block)[1] // 12
            offsets = [struct.unpack_from("<QHB", block, 12 * i) for i in range(count)]
            for i, (nid, offset, kind) in enumerate(offsets):
                end = offsets[i + 1][1] if i + 1 < count else len(block)
                name = block[offset:end].rstrip(b"\x00")
                assert TYPES[kind] == self.file(nid).kind
                names.append(name)
                found[name] = nid
        assert names == sorted(names) and len(set(names)) == len(names)
        return found

    def tree(self) -> dict[bytes, File]:
        """path -> file, the root as `.`, with every invariant of the kernel's checked on the way."""
        root = self.file(self.root_nid)
        found = {b".": root}
        pending = [(b"", root, root)]
        while pending:
            path, directory, parent = pending.pop()
            entries = self.directory(directory)
            assert entries.pop(b".") == directory.nid and entries.pop(b"..") == parent.nid
            for name, nid in entries.items():
                file = self.file(nid)
                found[path + name] = file
                if file.kind == stat.S_IFDIR:
                    pending.append((path + name + b"/", file, directory))
        assert len({file.nid for file in found.values()}) == self.inodes
        self._check_links(found)
        return found

    @staticmethod
    def _check_links(found: dict[bytes, File]) -> None:
        names: dict[int, int] = {}
        for path, file in found.items():
            if file.kind == stat.S_IFDIR:
                names[file.nid] = names.get(file.nid, 0) + 2
                if path != b".":
                    above = found[path.rpartition(b"/")[0] or b"."]
                    names[above.nid] = names.get(above.nid, 0) + 1
            else:
                names[file.nid] = names.get(file.nid, 0) + 1
        for file in found.values():
            assert file.links == names[file.nid]

    def read(self, path: bytes) -> bytes:
        return self.content(self.tree()[path])
