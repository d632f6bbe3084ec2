# SPDX-License-Identifier: Apache-2.0
"""What there is to copy from, as a tree in memory: attributes and where in the staging file each content lies.

Paths are keys of dictionaries: relative, clean, `""` the root. Nothing is opened by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypercell.base import path_patterns
from hypercell.base.errors import InvalidArgument

MAX_ENTRIES = 500_000
MAX_NAMES = 128 << 20
"""Bytes of all paths, links and extended attributes."""
_MAX_LINKS = 40
_MOST_MATCHES = 10_000_000
"""Of patterns with paths."""


@dataclass(frozen=True, slots=True)
class Entry:
    kind: str
    """file, directory, symlink, char, block or fifo."""
    mode: int
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    offset: int = 0
    digest: str = ""
    """Of a file's content."""
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[str, str], ...] = field(default=())


IMPLIED = Entry("directory", 0o755)
"""A directory that nobody told of."""


class Tree:
    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {"": IMPLIED}
        self._children: dict[str, set[str]] = {"": set()}
        self._names = 0

    def add(self, path: str, entry: Entry) -> None:
        """Raises `InvalidArgument` beyond a bound, and for a member below something that is no directory."""
        parent = path.rpartition("/")[0]
        if parent not in self.entries:
            self._imply(parent)
        if self.entries[parent].kind != "directory":
            raise InvalidArgument(f"the archive has {path[:200]!r} below something that is no directory")
        self._names += len(path) + len(entry.link) + sum(len(name) + len(value) for name, value in entry.xattrs)
        if len(self.entries) >= MAX_ENTRIES or self._names > MAX_NAMES:
            raise InvalidArgument(
                f"there are more than {MAX_ENTRIES} files, or names of more than {MAX_NAMES >> 20} MiB",
                "leave out what is not needed: .dockerignore",
            )
        if path in self._children and entry.kind != "directory":
            self.remove(path)
        self.entries[path] = entry
        if path:
            self._children[parent].add(path)
        if entry.kind == "directory":
            self._children.setdefault(path, set())

    def _imply(self, path: str) -> None:
        """A directory and those above it, the uppermost first."""
        missing = []
        while path not in self.entries:
            missing.append(path)
            path = path.rpartition("/")[0]
        for each in reversed(missing):
            self.add(each, IMPLIED)

    def remove(self, path: str) -> None:
        """With all that is below it."""
        for each in [path, *(found for found, _ in self.below(path))]:
            self.entries.pop(each, None)
            self._children.pop(each, None)
        self._children.get(path.rpartition("/")[0], set()).discard(path)

    def ignore(self, rules: path_patterns.IgnoreRules) -> None:
        """Directories stay for what is excepted below them, and go with the rest. Raises `InvalidArgument`."""
        if len(rules) * len(self.entries) > _MOST_MATCHES:
            words = f"{len(rules)} patterns of .dockerignore for {len(self.entries)} files are too many"
            raise InvalidArgument(words, "exclude directories, or send less")
        for path in sorted(self.entries, reverse=True):
            if path and rules.excludes(path) and not self._children.get(path):
                self.remove(path)

    def below(self, path: str) -> Iterator[tuple[str, Entry]]:
        """Everything below a directory, names in order, a directory before what is in it."""
        waiting = sorted(self._children.get(path, ()), reverse=True)
        while waiting:
            found = waiting.pop()
            yield found, self.entries[found]
            waiting += sorted(self._children.get(found, ()), reverse=True)

    def resolve(self, path: str) -> str | None:
        """The path behind symlinks, none of which leads out of the tree; None: there is nothing."""
        done: list[str] = []
        left = [part for part in path.split("/") if part not in ("", ".")][::-1]
        links = 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            entry = self.entries.get("/".join([*done, part]))
            if entry is None:
                return None
            if entry.kind != "symlink":
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            if entry.link.startswith("/"):
                done = []
            left += entry.link.split("/")[::-1]
        return "/".join(done)

    def glob(self, pattern: str) -> list[str]:
        """The paths that it matches, in order. Raises `InvalidArgument`."""
        found = [""]
        for component in pattern.split("/"):
            found = [
                child
                for path in found
                for child in sorted(self._children.get(path, ()))
                if path_patterns.match_name(component, child.rpartition("/")[2])
            ]
        return found
