# SPDX-License-Identifier: Apache-2.0
"""Which files a COPY means, and their checksum, by which a build knows that it has copied the same before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from hypercell.base import path_patterns
from hypercell.base.errors import InvalidArgument
from hypercell.engines.build.staging import Staged
from hypercell.engines.build.tree import Entry


@dataclass(frozen=True, slots=True)
class Item:
    """One source: a file, or a directory whose content is meant."""

    staged: Staged
    path: str
    """Behind symlinks."""
    name: str
    """What it is called where it is copied to, if it is a file."""

    @property
    def entry(self) -> Entry:
        return self.staged.tree.entries[self.path]

    def members(self) -> Iterator[tuple[str, Entry]]:
        """What is below a directory, by names relative to it."""
        start = len(self.path) + 1 if self.path else 0
        for path, entry in self.staged.tree.below(self.path):
            yield path[start:], entry


def clean(source: str) -> str:
    """A source as a path of a tree; what would leave the tree stays at its root."""
    parts: list[str] = []
    for part in source.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def select(staged: Staged, sources: tuple[str, ...], verb: str, where: str) -> list[Item]:
    """*verb*: COPY or ADD, *where*: what is searched, both for messages. Raises `InvalidArgument`."""
    items: list[Item] = []
    for source in sources:
        path = clean(source)
        found = staged.tree.glob(path) if path_patterns.has_meta(path) else [path]
        for each in found:
            resolved = staged.tree.resolve(each)
            if resolved is None:
                raise InvalidArgument(
                    f"{verb} failed: file not found in {where}: stat {source[:200]}: file does not exist"
                )
            items.append(Item(staged, resolved, each.rpartition("/")[2]))
    if sources and not items:
        raise InvalidArgument(f"{verb} failed: no source files were specified", "no file matches the pattern")
    return items


def checksum(items: list[Item]) -> str:
    """`file:…`, `dir:…` or `multi:…`: names, types, modes and contents; no times, and no owners, which are not kept."""
    found = hashlib.sha256()
    for item in items:
        _note(found, item.name if item.entry.kind != "directory" else "", item.entry)
        if item.entry.kind == "directory":
            for name, entry in item.members():
                _note(found, name, entry)
    kind = "multi" if len(items) != 1 else "dir" if items[0].entry.kind == "directory" else "file"
    return f"{kind}:{found.hexdigest()}"


def _note(found: hashlib._Hash, name: str, entry: Entry) -> None:
    told = (name, entry.kind, entry.mode, entry.digest, entry.link, entry.major, entry.minor, entry.xattrs)
    found.update(json.dumps(told).encode() + b"\n")
