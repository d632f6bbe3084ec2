# SPDX-License-Identifier: Apache-2.0
"""COPY and ADD: from the context, from another image, from the Dockerfile itself, into a guest that packs the layer."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypercell.base import path_patterns
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import Containers
from hypercell.engines.build.containers import BuildContainers
from hypercell.engines.build.instructions import Copy
from hypercell.engines.build.packing import pack
from hypercell.engines.build.placing import Source, place
from hypercell.engines.build.selection import Item, checksum, clean, select
from hypercell.engines.build.staging import Staged, Staging
from hypercell.images.contract import Image, Images, Revision

_MODE = re.compile(r"0?[0-7]{3,4}")


@dataclass(frozen=True, slots=True)
class Engines:
    """What carries out the steps of one build."""

    containers: Containers
    images: Images
    own: BuildContainers


class Copying:
    """One COPY or ADD, with its variables replaced already. Close it."""

    def __init__(
        self, step: Copy, context: Staged, staging: Staging, expand: Callable[[str], str], escape: str
    ) -> None:
        self.verb = "ADD" if step.unpacks else "COPY"
        self.sources = tuple(expand(source) for source in step.sources)
        self.destination = expand(step.destination)
        self.chown = expand(step.chown)
        self.mode = _mode(expand(step.chmod))
        self._step = step
        self._context = context
        self._staging = staging
        self._stack = contextlib.ExitStack()
        self._texts = [
            (each.name, _expand_text(each.content, expand, escape) if each.expands else each.content)
            for each in step.files
        ]

    def close(self) -> None:
        self._stack.close()

    def key(self, source: str) -> list[object]:
        """What tells it apart from others. *source*: what `source` says."""
        names = self.sources if self._step.source else ()
        return [self.verb, source, names, self._texts, self.destination, self.chown, self.mode]

    def source(self, source_image: str) -> str:
        """What is copied, by its content; from *source_image*, the id of what `--from` names, by its name. Blocks."""
        if source_image:
            return f"{source_image} {' '.join(self.sources)}"
        return checksum(self._items(self._context)) if self.sources else ""

    def _items(self, staged: Staged) -> list[Item]:
        where = "build context or excluded by .dockerignore" if staged is self._context else self._step.source
        return select(staged, self.sources, self.verb, where)

    async def carry_out(
        self, tenant: str, engines: Engines, onto: str, working_dir: str, source_image: str, revision: Revision
    ) -> Image:
        """*onto*: the image that it is copied onto."""
        if source_image:
            items = await self._fetched(tenant, engines, source_image) if self.sources else []
        else:
            items = self._items(self._context) if self.sources else []
        sources = [*await self._unpacked(items), *self._inline()]
        user: dict[str, Any] = {"user": _owner(self.chown)} if self.chown else {}
        async with engines.own.create(onto, **user) as ident, engines.containers.workshop(tenant, ident) as shop:
            members = await place(shop, sources, self.destination, working_dir, self.mode)
            await shop.put("/", pack(members), chown=bool(self.chown))
            async with shop.layer() as layer:
                return await engines.images.commit(tenant, onto, layer, revision)

    async def _fetched(self, tenant: str, engines: Engines, image: str) -> list[Item]:
        """What the sources name, out of an image: its guest packs it."""
        items: list[Item] = []
        async with engines.own.create(image) as ident, engines.containers.workshop(tenant, ident) as shop:
            for source in self.sources:
                top = _top(source)
                found = await shop.stat(f"/{top}")
                if found is None:
                    missing = f"{self.verb} failed: stat {top[:200]}: file does not exist"
                    raise InvalidArgument(missing, f"{self._step.source[:100]} has no such file")
                real = str(found.get("link_target") or f"/{top}")
                async with shop.get(real) as content:
                    staged = await self._staging.stage(content, partial(_moved, posixpath.basename(real), top))
                self._stack.enter_context(staged)
                items += select(staged, (source,), self.verb, self._step.source)
        return items

    async def _unpacked(self, items: list[Item]) -> list[Source]:
        """For ADD, the content of archives instead of these."""
        sources: list[Source] = []
        for item in items:
            inner = None
            if self._step.unpacks and item.entry.kind == "file":
                inner = await self._staging.unpacked(item.staged, item.entry)
            if inner is None:
                sources.append(Source(item))
            else:
                self._stack.enter_context(inner)
                sources.append(Source(Item(inner, "", ""), unpacked=True))
        return sources

    def _inline(self) -> list[Source]:
        sources: list[Source] = []
        for name, text in self._texts:
            staged = self._stack.enter_context(self._staging.holding(name, text.encode(errors="replace")))
            sources.append(Source(Item(staged, name, name)))
        return sources


def _expand_text(text: str, expand: Callable[[str], str], escape: str) -> str:
    """Variables in a here-document, where quotes mean nothing, and the escape only in front of a `$`."""
    return expand(re.sub(rf"[\"']|{re.escape(escape)}(?!\$)", lambda match: escape + match[0], text))


def _mode(text: str) -> int | None:
    if not text:
        return None
    if not _MODE.fullmatch(text):
        raise InvalidArgument(
            f"invalid chmod parameter: '{text[:50]}'. it should be octal string and between 0 and 07777"
        )
    return int(text, 8)


def _owner(chown: str) -> str:
    """A user alone is the group too."""
    return chown if ":" in chown else f"{chown}:{chown}"


def _top(source: str) -> str:
    """What must be fetched: the source itself, or the directory in front of its first pattern."""
    parts = clean(source).split("/")
    plain = next((at for at, part in enumerate(parts) if path_patterns.has_meta(part)), len(parts))
    return "/".join(parts[:plain])


def _moved(base: str, top: str, name: str) -> str | None:
    """A member's name, which begins with the last component of what was fetched, as a path from the root."""
    if base and name != base and not name.startswith(f"{base}/"):
        return None
    return f"{top}/{name[len(base) :].lstrip('/')}".strip("/")
