# SPDX-License-Identifier: Apache-2.0
"""Where a COPY puts its sources: docker's rules, for which the guest is asked what is there already."""

from __future__ import annotations

import posixpath
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import Workshop
from hypercell.engines.build.packing import Packed
from hypercell.engines.build.selection import Item
from hypercell.engines.build.tree import Entry
from hypercell.images.config import clean_path


@dataclass(frozen=True, slots=True)
class Source:
    item: Item
    unpacked: bool = False
    """It is the content of an archive, which keeps its owners and stays as it is."""


def is_directory_name(destination: str) -> bool:
    return destination.endswith("/") or posixpath.basename(destination) in (".", "..")


async def place(
    shop: Workshop, sources: list[Source], destination: str, working_dir: str, mode: int | None
) -> list[Packed]:
    """The members of the tar that is unpacked at the root. Raises `InvalidArgument`."""
    target = clean_path(posixpath.join(working_dir or "/", destination))
    several = len(sources) > 1
    if several and not is_directory_name(destination):
        raise InvalidArgument(
            "When using COPY with more than one source file, the destination must be a directory and end with a /"
        )
    into = several or is_directory_name(destination) or await _is_directory(shop, target)
    if not into:
        target = await _behind_link(shop, target)
    wanted = target if into or any(_is_tree(source) for source in sources) else posixpath.dirname(target)
    missing = await missing_directories(shop, wanted)
    members = [member for source in sources for member in _members(source, target, into, mode)]
    return [*missing, *members]


def _is_tree(source: Source) -> bool:
    return source.item.entry.kind == "directory"


def _members(source: Source, target: str, into: bool, mode: int | None) -> Iterator[Packed]:
    item = source.item
    if _is_tree(source):
        for name, entry in item.members():
            path = posixpath.join(target, name).lstrip("/")
            yield Packed(path, entry, item.staged, source.unpacked, None if source.unpacked else mode)
    else:
        path = posixpath.join(target, item.name) if into else target
        if path == "/":
            raise InvalidArgument("a file cannot be copied to /", "name the file, or end the destination with a /")
        yield Packed(path.lstrip("/"), item.entry, item.staged, False, mode)


async def missing_directories(shop: Workshop, path: str) -> list[Packed]:
    """Those on the way to *path*, and itself, that are not there: made as mkdir does it, by the superuser."""
    parts = path.strip("/").split("/") if path.strip("/") else []
    now = time.time_ns()
    for there in range(len(parts), -1, -1):
        if there == 0 or await _is_directory(shop, "/" + "/".join(parts[:there])):
            made = ["/".join(parts[: length + 1]) for length in range(there, len(parts))]
            return [Packed(each, Entry("directory", 0o755, mtime_ns=now)) for each in made]
    return []


async def _behind_link(shop: Workshop, path: str) -> str:
    """Where a file goes whose name is a symlink: where that leads, inside the image."""
    try:
        found = await shop.stat(path)
    except InvalidArgument:  # something on the way is no directory: unpacking says so
        found = None
    link = str((found or {}).get("link_target") or "")
    return clean_path(link) if link.startswith("/") else path


async def _is_directory(shop: Workshop, path: str) -> bool:
    """Behind symlinks too."""
    try:
        found = await shop.stat(posixpath.join(path, "."))
    except InvalidArgument:  # something on the way is no directory
        return False
    return found is not None and stat.S_ISDIR(int(found.get("mode", 0)))
