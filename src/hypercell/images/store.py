# SPDX-License-Identifier: Apache-2.0
"""The images of one daemon: `open_store` gives the implementation of the `Images` contract."""

from __future__ import annotations

import asyncio
import builtins
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hypercell.base.config import Config
from hypercell.base.db import Database, Transaction
from hypercell.base.errors import HypercellError, Internal, InvalidArgument, NoSpace, NotFound
from hypercell.base.ids import short
from hypercell.images import chains, committing, lineage, lookup, metadata, platforms, removal, saving, step_cache
from hypercell.images import config as image_config
from hypercell.images.archives import contents, rootfs, spool, writer
from hypercell.images.archives.bridge import read_in_thread
from hypercell.images.blobs import BlobStore, Lease, allocations
from hypercell.images.chains import ChainStore
from hypercell.images.contract import (
    CachedStep,
    Credentials,
    Image,
    ImageConfig,
    Progress,
    ProgressSink,
    Pushed,
    Revision,
    Room,
    RootImage,
)
from hypercell.images.digests import Digest
from hypercell.images.ingredients import Ingredients
from hypercell.images.manifest import Descriptor
from hypercell.images.metadata import Name, Record
from hypercell.images.platforms import Platform
from hypercell.images.possessions import Possessions
from hypercell.images.reference import Reference
from hypercell.images.reference import parse as parse_reference
from hypercell.images.registry.patience import Limits
from hypercell.images.threads import in_thread

if TYPE_CHECKING:
    from hypercell.images.registry.pull import Pulled
    from hypercell.images.registry.source import Source

log = logging.getLogger(__name__)

MAX_PARSED = 1000
"""Configs that are kept parsed."""
MIGRATIONS = Path(__file__).parent / "migrations"


async def open_store(config: Config, db: Database, limits: Limits | None = None) -> ImageStore:
    """The store under `config.images`, ready for use: what an earlier daemon left half-made is gone.

    *limits*: how patient to be with registries.
    """
    store = ImageStore(config, db, limits or Limits())
    await store.open()
    return store


class ImageStore:
    """Implements `contract.Images`, where the methods are described."""

    def __init__(self, config: Config, db: Database, limits: Limits) -> None:
        self._config = config
        self._db = db
        self._limits = limits
        self._blobs = BlobStore(config.images, config.reserve_bytes)
        self._chains = ChainStore(self._blobs, db)
        self._possessions = Possessions(db)
        self._parsed: dict[Digest, image_config.ParsedConfig] = {}
        self._told: set[str] = set()
        """Ids of images whose record cannot be read."""
        self._sweeping = asyncio.Lock()
        self.in_use: Callable[[str], builtins.list[str]] = lambda _: []
        self.runs: Callable[[str], bool] = lambda _: False

    async def open(self) -> None:
        await in_thread(self._blobs.open)
        await in_thread(self._chains.open)
        await self._db.migrate("images", MIGRATIONS)
        await self._sweep()

    async def pull(
        self, tenant: str, reference: str, platform: str, credentials: Credentials | None, progress: ProgressSink
    ) -> Image:
        # Only here: the HTTP client takes 20 MB, which a daemon that pulls nothing need not have.
        from hypercell.images.registry.source import Source

        name, wanted = parse_reference(reference).or_latest(), platforms.parse(platform)
        async with Source(self._config, name, credentials, self._limits) as source:
            image, is_news = await self._pull(tenant, source, name, wanted, progress)
        _tell_end(name.familiar, is_news, progress)
        if platform:
            _warn_of_platform(image, name, wanted, progress)
        return image

    async def pull_all(
        self, tenant: str, repository: str, platform: str, credentials: Credentials | None, progress: ProgressSink
    ) -> builtins.list[Image]:
        from hypercell.images.registry.source import Source

        name, wanted = parse_reference(repository), platforms.parse(platform)
        images: builtins.list[Image] = []
        news = False
        async with Source(self._config, name, credentials, self._limits) as source:
            for tag in await source.tags():
                image, is_news = await self._pull(tenant, source, name.with_tag(tag), wanted, progress)
                images.append(image)
                news = news or is_news
        _tell_end(name.familiar, news, progress)
        return images

    async def _pull(
        self, tenant: str, source: Source, name: Reference, wanted: Platform, progress: ProgressSink
    ) -> tuple[Image, bool]:
        """The image, and whether the name stood for another one before, or for none."""
        from hypercell.images.registry.pull import pull

        try:
            with self._blobs.lease() as lease:
                pulled = await pull(source, tenant, name, wanted, self._blobs, self._possessions, lease, progress)
                names = [Name(name.name, "digest", pulled.digest)]
                if not name.digest:
                    names.append(lookup.name_of(name))
                before = await self._db.run(lambda tx: metadata.by_name(tx, tenant, lookup.name_of(name)))
                image = await self._admit(tenant, pulled.ingredients, names, lease, _extracting(pulled, progress))
        except NoSpace:
            # Other failures keep the layers that came: the next try goes on from there.
            await self._sweep()
            raise
        for layer in pulled.ingredients.layers:
            if layer.digest in pulled.fetched:
                progress(Progress("Pull complete", short(layer.digest)))
        progress(Progress(f"Digest: {pulled.digest}"))
        return image, before is None or before.id != image.id

    async def load(
        self, tenant: str, archive: AsyncIterator[bytes], progress: ProgressSink
    ) -> builtins.list[tuple[Image, str]]:
        try:
            with self._blobs.lease() as lease:
                read = await read_in_thread(archive, lambda stream: spool.fill(stream, self._blobs, lease))
                found = await in_thread(contents.images, read, platforms.host())
                loaded: builtins.list[tuple[Image, str]] = []
                for entry in found:
                    names = [Name(name.name, "tag", name.tag) for name in entry.names]
                    image = await self._admit(tenant, entry.image, names, lease, _loading(progress))
                    loaded += [(image, name.familiar) for name in entry.names] or [(image, "")]
        finally:
            # Much of an archive is no part of an image: listings, other platforms, what a failure has left.
            await self._sweep()
        return loaded

    async def import_root(
        self,
        tenant: str,
        archive: AsyncIterator[bytes],
        repository: str,
        tag: str,
        message: str,
        changes: builtins.list[str],
        platform: str = "",
    ) -> Image:
        names = [lookup.name_of(_repository(repository, tag))] if repository else []
        wanted = platforms.parse(platform)
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        try:
            with self._blobs.lease() as lease:
                layer = await read_in_thread(archive, lambda stream: rootfs.store_layer(stream, self._blobs, lease))
                raw = rootfs.make_config(layer, wanted, message, changes, now)
                await in_thread(self._blobs.put, raw, lease)
                return await self._admit(tenant, rootfs.combine(raw, layer), names, lease)
        except BaseException:
            await self._sweep()
            raise

    async def commit(
        self,
        tenant: str,
        parent: str,
        layer: AsyncIterator[bytes] | None,
        revision: Revision,
        repository: str = "",
        tag: str = "",
    ) -> Image:
        names = [lookup.name_of(_repository(repository, tag))] if repository else []
        try:
            with self._blobs.lease() as lease:
                base, below = await self._base(tenant, parent, lease)
                store_layer = partial(committing.store_layer, store=self._blobs, lease=lease)
                grown = None if layer is None else await read_in_thread(layer, store_layer)
                raw, layers, made_of = committing.combine(base, below, grown, revision)
                await in_thread(self._blobs.put, raw, lease)
                if layers[0].digest == committing.EMPTY:
                    await in_thread(self._blobs.put, committing.EMPTY_TAR, lease)
                parent_id = (await self.get(tenant, parent)).id if parent else ""
                return await self._admit(tenant, made_of, names, lease, of=(parent_id, revision.step))
        except BaseException:
            await self._sweep()
            raise

    async def _base(
        self, tenant: str, parent: str, lease: Lease
    ) -> tuple[image_config.ParsedConfig | None, tuple[Descriptor, ...]]:
        """What *parent* says and has; its layers stay as long as *lease*. Raises `NotFound`."""
        if not parent:
            return None, ()
        record, below = await self._db.run(lambda tx: committing.find_base(tx, tenant, parent))
        if self._legible(record).damage:
            raise metadata.damaged(record.id, record.damage)
        for descriptor in below:
            lease.add(descriptor.digest)
        await self.get(tenant, record.id)  # removed just now? Then its layers may have gone before they were leased.
        return self._parse(record), below

    async def made_by(self, tenant: str, parent: str, step: str) -> Image | None:
        for image_id in await self._db.look(lambda tx: lineage.made_by(tx, tenant, parent, step)):
            with suppress(HypercellError):  # removed meanwhile, or its record cannot be read
                found = await self.get(tenant, image_id)
                await self._db.run(partial(_use, tenant, image_id, time.time_ns()))
                return found
        return None

    async def push(self, tenant: str, reference: str, credentials: Credentials | None, progress: ProgressSink) -> None:
        from hypercell.images import pushing  # the HTTP client, as for `pull`
        from hypercell.images.registry.destination import Destination

        name = parse_reference(reference)
        progress(Progress(f"The push refers to repository [{name.name}]"))
        with self._blobs.lease() as lease:
            chosen = await self._db.run(lambda tx: pushing.choose(tx, tenant, name))
            for image in chosen:
                for digest in image.needs:
                    lease.add(digest)
            async with Destination(self._config, name, credentials, self._limits, self._blobs) as registry:
                await registry.greet()
                for image in chosen:
                    outgoing = await in_thread(image.read, self._blobs)
                    await registry.push(outgoing, progress)
                    digest, size = outgoing.manifest.digest, len(outgoing.manifest.raw)
                    await self._db.run(partial(metadata.note_digest, tenant, image.id, name.name, digest))
                    progress(Progress(f"{image.tag}: digest: {digest} size: {size}"))
                    progress(Progress("", pushed=Pushed(image.tag, digest, size)))

    async def save(self, tenant: str, references: builtins.list[str]) -> AsyncIterator[bytes]:
        with self._blobs.lease() as lease:
            images = await self._saved(tenant, references, lease)
            async with aclosing(writer.write(images, self._blobs.path)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _saved(self, tenant: str, references: builtins.list[str], lease: Lease) -> builtins.list[writer.Saved]:
        chosen = await self._db.run(lambda tx: saving.choose(tx, tenant, references))
        for image in chosen:
            for digest in image.needs:
                lease.add(digest)
        return await in_thread(lambda: [image.read(self._blobs) for image in chosen])

    async def list(self, tenant: str) -> builtins.list[Image]:
        records = await self._db.run(lambda tx: metadata.every(tx, tenant))
        parents = await self._db.run(lambda tx: lineage.parents(tx, tenant))
        return [self._image(self._legible(record), parents) for record in records]

    async def get(self, tenant: str, reference: str) -> Image:
        record, parent = await self._db.look(lambda tx: _with_parent(tx, tenant, lookup.find(tx, tenant, reference)))
        record = self._legible(record)
        if record.damage:
            raise metadata.damaged(record.id, record.damage)
        return self._image(record, parent)

    async def layer_sizes(self, tenant: str, image_id: str) -> builtins.list[int]:
        return await self._db.look(lambda tx: metadata.layer_sizes(tx, tenant, image_id))

    async def tag(self, tenant: str, reference: str, repository: str, tag: str) -> None:
        name = lookup.name_of(_repository(repository, tag))
        now = time.time_ns()

        def put(tx: Transaction) -> None:
            metadata.put_name(tx, tenant, lookup.find(tx, tenant, reference).id, name, now)

        await self._db.run(put)

    async def remove(
        self, tenant: str, reference: str, force: bool = False, prune: bool = True
    ) -> builtins.list[tuple[str, str]]:
        found = await self._db.run(lambda tx: lookup.find(tx, tenant, reference))
        family = await self._db.run(lambda tx: removal.family(tx, tenant, found.id)) if prune else []
        users = {image_id: self.in_use(image_id) for image_id in (found.id, *family)}
        removed = await self._db.run(lambda tx: removal.remove(tx, tenant, reference, force, users, self.runs))
        await self._sweep()
        return removed

    async def prune(self, tenant: str, keep: Callable[[Image], bool]) -> tuple[builtins.list[tuple[str, str]], int]:
        records = await self._db.run(lambda tx: metadata.every(tx, tenant))
        parents = await self._db.run(lambda tx: lineage.parents(tx, tenant))
        # Nothing is awaited from here to the transaction: whoever wants one of them now finds it gone, or not at all.
        victims = [
            record
            for record in records
            if not keep(self._image(self._legible(record), parents)) and not self.in_use(record.id)
        ]
        free = {image_id for image_id in parents.values() if not self.in_use(image_id)}
        removed = await self._db.run(lambda tx: removal.prune(tx, tenant, victims, free))
        return removed, await self._sweep()

    async def prune_steps(
        self, tenant: str, wanted: Callable[[CachedStep], bool], room: Room
    ) -> tuple[builtins.list[tuple[str, str]], int]:
        sizes = await in_thread(self._sizes)
        free = await in_thread(lambda: shutil.disk_usage(self._blobs.root).free)
        records = await self._db.run(lambda tx: metadata.every(tx, tenant))
        parents = await self._db.run(lambda tx: lineage.parents(tx, tenant))
        used = await self._db.run(lambda tx: lineage.steps(tx, tenant))
        needs, foreign = await self._db.run(lambda tx: step_cache.pieces(tx, tenant))
        # As in `prune`: nothing is awaited from here to the transaction.
        inside: dict[str, Record] = {r.id: r for r in records if r.id in used and not r.names and not self.in_use(r.id)}
        shared = step_cache.shared(inside, parents)
        steps = []
        for record in inside.values():
            image = self._image(self._legible(record), parents)
            steps.append(CachedStep(image, used[record.id] or image.created_ns, record.id in shared))
        elsewhere = foreign.union(*(pieces for image_id, pieces in needs.items() if image_id not in inside))
        going = step_cache.Cache(steps, needs, elsewhere, sizes).choose(wanted, room, free)
        removed = await self._db.run(lambda tx: removal.forget(tx, tenant, [inside[ident] for ident in going]))
        return removed, await self._sweep()

    def _sizes(self) -> dict[str, int]:
        """What each blob and each chain takes of the disk. Blocks."""
        blobs = {step_cache.blob_of(digest): size for digest, size in allocations(self._blobs.directory).items()}
        chains_ = allocations(self._chains.directory, chains.SUFFIX)
        return blobs | {step_cache.chain_of(digest): size for digest, size in chains_.items()}

    async def root(self, image_id: str) -> RootImage:
        layers = await self._db.look(lambda tx: metadata.layers(tx, image_id))
        if not layers:
            raise NotFound(f"No such image: {image_id}")
        chain_id = layers[-1].chain_id
        found = self._chains.find(chain_id)
        if found is None:
            with self._blobs.lease() as lease:
                for layer in layers:
                    lease.add(layer.digest)
                await self._chains.ensure([(layer.digest, layer.diff_id) for layer in layers], lease)
            found = self._chains.find(chain_id)
        if found is None:
            raise NotFound(f"No such image: {image_id}", "it was removed just now")
        return found

    async def disk_usage(self) -> int:
        return await in_thread(lambda: self._blobs.disk_usage() + self._chains.disk_usage())

    async def _admit(
        self,
        tenant: str,
        made_of: Ingredients,
        names: builtins.list[Name],
        lease: Lease,
        tell: Callable[[Descriptor, int], None] | None = None,
        of: tuple[str, str] | None = None,
    ) -> Image:
        """Build the root, then record the image: what can be listed can be run.

        *of*: the image that it was made of, and by what step.
        """
        layers = [
            (layer.digest, diff_id) for layer, diff_id in zip(made_of.layers, made_of.parsed.diff_ids, strict=True)
        ]
        size = await self._chains.ensure(
            layers, lease, tell and (lambda position, done: tell(made_of.layers[position], done))
        )
        now = time.time_ns()

        def record(tx: Transaction) -> Record | None:
            metadata.add(tx, tenant, made_of, size, names, now)
            if of is not None:
                lineage.note(tx, tenant, made_of.id, *of, now)
            return metadata.by_id(tx, tenant, made_of.id)

        recorded = await self._db.run(record)
        if recorded is None:
            raise Internal(f"the image {made_of.id} vanished while it was recorded")
        return self._image(recorded, {recorded.id: of[0]} if of else {})

    def _legible(self, record: Record) -> Record:
        """With the damage noted, if its config cannot be read; the log hears of each such image once."""
        if not record.damage:
            try:
                self._parse(record)
            except InvalidArgument as error:
                record = replace(record, damage=f"images.config: {error.message}")
        if record.damage and record.id not in self._told:
            self._told.add(record.id)
            log.error("%s", metadata.damaged(record.id, record.damage))
        return record

    def _parse(self, record: Record) -> image_config.ParsedConfig:
        parsed = self._parsed.get(record.id)
        if parsed is None:
            if len(self._parsed) >= MAX_PARSED:
                self._parsed.clear()
            parsed = self._parsed[record.id] = image_config.parse(record.config.encode())
        return parsed

    def _image(self, record: Record, parents: Mapping[str, str]) -> Image:
        """*parents*: by image id."""
        parsed = image_config.ParsedConfig(ImageConfig("", "", ""), ()) if record.damage else self._parse(record)
        return Image(
            id=record.id,
            config=parsed.config,
            diff_ids=parsed.diff_ids,
            chain_id=record.chain_id,
            tags=tuple(name.familiar for name in record.names if name.kind == "tag"),
            digests=tuple(name.familiar for name in record.names if name.kind == "digest"),
            size=record.size,
            created_ns=record.created_ns,
            last_tagged_ns=record.last_tagged_ns,
            parent=parents.get(record.id, ""),
            has_children=record.id in parents.values(),
        )

    async def _sweep(self) -> int:
        """Remove what no image needs and no operation holds; returns the bytes freed."""
        async with self._sweeping:
            self._blobs.begin_sweep()
            try:
                wanted = await self._db.run(metadata.reachable)
                freed = await in_thread(self._blobs.sweep, self._blobs.directory, "", wanted.blobs)
                freed += await in_thread(self._blobs.sweep, self._chains.directory, chains.SUFFIX, wanted.chains)
            finally:
                self._blobs.end_sweep()
            self._possessions.forget(lambda digest: self._blobs.size(digest) is not None)
            return freed


def _use(tenant: str, image_id: str, now_ns: int, tx: Transaction) -> None:
    lineage.use(tx, tenant, image_id, now_ns)


def _with_parent(tx: Transaction, tenant: str, record: Record) -> tuple[Record, dict[str, str]]:
    parents: dict[str, str] = {record.id: lineage.parent_of(tx, tenant, record.id)}
    if child := lineage.child_of(tx, tenant, record.id):
        parents[child] = record.id
    return record, parents


def _tell_end(name: str, news: bool, progress: ProgressSink) -> None:
    words = "Downloaded newer image for" if news else "Image is up to date for"
    progress(Progress(f"Status: {words} {name}"))


def _warn_of_platform(image: Image, name: Reference, wanted: Platform, progress: ProgressSink) -> None:
    """A name without a choice of platforms gives what there is, whatever was asked for."""
    has = Platform(image.config.os, image.config.architecture, image.config.variant)
    if not platforms.serves(wanted, has):
        progress(Progress(f"WARNING: {platforms.mismatch(name.familiar, has, wanted)}"))


def _extracting(pulled: Pulled, progress: ProgressSink) -> Callable[[Descriptor, int], None]:
    """Progress of a build after a pull, for the layers that were not here before."""

    def tell(layer: Descriptor, done: int) -> None:
        if layer.digest in pulled.fetched:
            progress(Progress("Extracting", short(layer.digest), done, layer.size))

    return tell


def _loading(progress: ProgressSink) -> Callable[[Descriptor, int], None]:
    return lambda layer, done: progress(Progress("Loading layer", short(layer.digest), done, layer.size))


def _repository(repository: str, tag: str) -> Reference:
    """The name that an image is to be given. Raises `InvalidArgument`."""
    name = parse_reference(repository)
    if name.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference", "name a repository and a tag")
    return name.with_tag(tag) if tag else name.or_latest()
