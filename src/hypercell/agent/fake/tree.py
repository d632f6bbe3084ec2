# SPDX-License-Identifier: Apache-2.0
"""The in-memory root of a fake container, for `archive.*` and a few programs."""

from __future__ import annotations

import io
import stat
import tarfile
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Node:
    mode: int
    data: bytes = b""
    link: str = ""
    uid: int = 0
    gid: int = 0
    mtime_ns: int = field(default_factory=time.time_ns)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Exists(Exception):
    """A directory would be replaced by something else, or the reverse."""


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


class Tree:
    """Absolute path -> node. Symbolic links are kept and not followed."""

    def __init__(self) -> None:
        self._nodes = {path: Node(stat.S_IFDIR | 0o755) for path in ("/", "/etc", "/tmp", "/root")}  # noqa: S108
        self.settle()

    def settle(self) -> None:
        """What there is now is the image's, or mounted."""
        self._born = frozenset(self._nodes)

    def added(self) -> list[str]:
        """What has come since."""
        return sorted(self._nodes.keys() - self._born)

    def read(self, path: str) -> bytes | None:
        node = self._nodes.get(_normal(path))
        return node.data if node is not None and stat.S_ISREG(node.mode) else None

    def write(self, path: str, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        self._place(_normal(path), Node(stat.S_IFREG | mode, data, uid=uid, gid=gid))

    def remove(self, path: str) -> None:
        """A file."""
        del self._nodes[_normal(path)]

    def is_directory(self, path: str) -> bool:
        node = self._nodes.get(_normal(path))
        return node is not None and node.is_directory

    def stat(self, path: str) -> dict[str, Any] | None:
        """As the `stat` of `archive.stat`, or None."""
        path = _normal(path)
        node = self._nodes.get(path)
        if node is None:
            return None
        name = path.rpartition("/")[2] or "/"
        size = len(node.data)
        return {"name": name, "size": size, "mode": node.mode, "mtime_ns": node.mtime_ns, "link_target": node.link}

    def pack(self, path: str) -> bytes:
        """A PAX tar of *path* and what is below it, names relative to its parent."""
        path = _normal(path)
        parent = path.rpartition("/")[0]
        below = [name for name in self._nodes if name == path or name.startswith(path.rstrip("/") + "/")]
        return self._pack(sorted(below), parent)

    def pack_added(self) -> bytes:
        """A PAX tar of what has come since."""
        return self._pack(self.added(), "")

    def _pack(self, names: list[str], parent: str) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in names:
                node = self._nodes[name]
                member = tarfile.TarInfo(name[len(parent) :].lstrip("/") or ".")
                member.mode, member.uid, member.gid = stat.S_IMODE(node.mode), node.uid, node.gid
                member.mtime, member.size, member.linkname = node.mtime_ns // 10**9, len(node.data), node.link
                member.type = _TYPES.get(stat.S_IFMT(node.mode), tarfile.REGTYPE)
                tar.addfile(member, io.BytesIO(node.data))
        return out.getvalue()

    def unpack(self, path: str, archive: bytes, keep_types: bool) -> None:
        """Unpack a tar below *path*. Raises `Exists` (with *keep_types*) and `tarfile.TarError`."""
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                target = _normal(f"{path}/{_normal(member.name)}")
                kind = _KINDS.get(member.type)
                if kind is None:
                    continue
                old = self._nodes.get(target)
                if keep_types and old is not None and old.is_directory != (kind == stat.S_IFDIR):
                    raise Exists(target)
                source = tar.extractfile(member) if kind == stat.S_IFREG else None
                node = Node(
                    kind | member.mode & 0o7777,
                    source.read() if source is not None else b"",
                    member.linkname if kind == stat.S_IFLNK else "",
                    member.uid,
                    member.gid,
                    int(member.mtime * 10**9),
                )
                self._place(target, node)

    def _place(self, path: str, node: Node) -> None:
        parent = path.rpartition("/")[0]
        while parent and parent not in self._nodes:
            self._nodes[parent] = Node(stat.S_IFDIR | 0o755)
            parent = parent.rpartition("/")[0]
        self._nodes[path] = node


_TYPES = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFREG: tarfile.REGTYPE}
_KINDS = {kind: mode for mode, kind in _TYPES.items()} | {tarfile.AREGTYPE: stat.S_IFREG}
