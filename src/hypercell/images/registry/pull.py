# SPDX-License-Identifier: Apache-2.0
"""A pull: from a name to the ingredients of an image, layers in parallel, told in docker's words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.base.ids import short
from hypercell.images import ingredients, platforms
from hypercell.images.blobs import BlobStore, Lease
from hypercell.images.contract import Progress, ProgressSink
from hypercell.images.digests import Digest
from hypercell.images.documents import MAX_DOCUMENT
from hypercell.images.ingredients import Ingredients
from hypercell.images.manifest import Descriptor, Index, Manifest
from hypercell.images.platforms import Platform
from hypercell.images.possessions import Possessions
from hypercell.images.reference import Reference
from hypercell.images.registry.source import Source
from hypercell.images.registry.together import all_of

MAX_NESTING = 3
"""Indexes inside indexes."""


@dataclass(frozen=True, slots=True)
class Pulled:
    ingredients: Ingredients
    digest: Digest
    """Of what the name stands for, which may be an index."""
    fetched: frozenset[Digest]
    """The blobs that were not here before."""


async def pull(
    source: Source,
    tenant: str,
    name: Reference,
    wanted: Platform,
    store: BlobStore,
    possessions: Possessions,
    lease: Lease,
    progress: ProgressSink,
) -> Pulled:
    """All parts of an image, in the store and leased. *source*: of the repository that *name* is in.

    Raises `NotFound`, `Unauthorized`, `Unavailable`, `InvalidArgument`, `NoSpace`.
    """
    run = _Pull(tenant, source, store, possessions, lease, progress).run
    return await run(name, wanted, source.limits.parallel)


class _Pull:
    """One pull by one tenant."""

    def __init__(
        self,
        tenant: str,
        source: Source,
        store: BlobStore,
        possessions: Possessions,
        lease: Lease,
        progress: ProgressSink,
    ) -> None:
        self._tenant = tenant
        self._source = source
        self._store = store
        self._possessions = possessions
        self._lease = lease
        self._progress = progress
        self._fetched: set[Digest] = set()

    async def run(self, name: Reference, wanted: Platform, parallel: int) -> Pulled:
        self._progress(Progress(f"Pulling from {name.familiar_name}", name.tag or name.digest or ""))
        top = await self._source.manifest(name.digest or name.tag)
        chosen, certain = await self._choose(top, wanted, name)
        if chosen.config.size > MAX_DOCUMENT:
            raise InvalidArgument(f"the image config is larger than {MAX_DOCUMENT} bytes")
        for layer in chosen.layers:
            self._progress(Progress("Pulling fs layer", short(layer.digest)))
        await self._obtain(chosen.config, quiet=True)
        raw = self._store.read(chosen.config.digest, MAX_DOCUMENT)
        manifest_digest = self._store.put(chosen.raw, self._lease)
        made_of = ingredients.combine(raw, chosen.layers, manifest_digest)
        if not certain and made_of.parsed.platform not in platforms.acceptable(wanted):
            raise _no_match(wanted)
        await self._layers(chosen.layers, parallel)
        return Pulled(made_of, top.digest, frozenset(self._fetched))

    async def _choose(self, top: Manifest | Index, wanted: Platform, name: Reference) -> tuple[Manifest, bool]:
        """The manifest for the platform; and whether its platform is certain: said by an index, or without a choice."""
        certain = True
        document = top
        for _ in range(MAX_NESTING):
            if isinstance(document, Manifest):
                return document, certain
            entry = document.choose(wanted)
            if entry is None:
                raise _no_match(wanted)
            certain = entry.platform is not None
            document = await self._source.manifest(entry.digest, entry)
        if isinstance(document, Manifest):
            return document, certain
        raise InvalidArgument(f"{name.familiar}: indexes nested more than {MAX_NESTING} deep")

    async def _layers(self, layers: tuple[Descriptor, ...], parallel: int) -> None:
        distinct = {layer.digest: layer for layer in layers}
        for layer in layers:
            if layer.size != distinct[layer.digest].size:
                raise InvalidArgument(f"the manifest gives {layer.digest} two sizes")
        missing = [layer.size for layer in distinct.values() if self._store.size(layer.digest) is None]
        self._store.require_space(sum(missing))
        turns = asyncio.Semaphore(parallel)

        async def one(layer: Descriptor) -> None:
            if turns.locked():
                self._progress(Progress("Waiting", short(layer.digest)))
            async with turns:
                await self._obtain(layer)

        await all_of([one(layer) for layer in distinct.values()])

    async def _obtain(self, wanted: Descriptor, quiet: bool = False) -> None:
        """Have the blob in the store, leased."""
        shown = short(wanted.digest)

        def say(status: str, current: int = 0) -> None:
            if not quiet:
                self._progress(Progress(status, shown, current, wanted.size if current else 0))

        self._lease.add(wanted.digest)
        async with self._possessions.locks.hold((self._tenant, wanted.digest)):
            here = self._store.size(wanted.digest)
            if here is not None and await self._possessions.has(self._tenant, wanted.digest):
                if here != wanted.size:
                    raise InvalidArgument(f"the manifest gives {wanted.digest} {wanted.size} bytes, but it has {here}")
                say("Already exists")
                return
            await self._source.blob(self._store, wanted, self._lease, lambda current: say("Downloading", current))
            self._possessions.downloaded(self._tenant, wanted.digest)
            self._fetched.add(wanted.digest)
        say("Verifying Checksum")
        say("Download complete")


def _no_match(wanted: Platform) -> NotFound:
    return NotFound(f"no matching manifest for {wanted} in the manifest list entries", "ask for another --platform")
