# SPDX-License-Identifier: Apache-2.0
"""What `push` is to send: the image of one tag, or those of all tags of a repository."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.base.db import Transaction
from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.base.ids import short
from hypercell.images import manifest, metadata
from hypercell.images.archives import writer
from hypercell.images.blobs import BlobStore
from hypercell.images.digests import Digest
from hypercell.images.documents import MAX_DOCUMENT
from hypercell.images.manifest import Manifest
from hypercell.images.metadata import Layer
from hypercell.images.reference import Reference
from hypercell.images.registry.destination import Outgoing


@dataclass(frozen=True, slots=True)
class Chosen:
    tag: str
    id: Digest
    layers: tuple[Layer, ...]
    manifest_digest: Digest | None
    sources: dict[Digest, str]

    @property
    def needs(self) -> list[Digest]:
        """The blobs that must not be swept meanwhile."""
        own = [self.manifest_digest] if self.manifest_digest else []
        return [self.id, *own, *(layer.digest for layer in self.layers)]

    def read(self, blobs: BlobStore) -> Outgoing:
        """With its manifest. Blocks. Raises `Internal` when a document is lost."""
        return Outgoing(
            self.tag, self._manifest(blobs), tuple(short(layer.diff_id) for layer in self.layers), self.sources
        )

    def _manifest(self, blobs: BlobStore) -> Manifest:
        """The manifest that the image came with, so that its digest stays; for what came without, the one that `save`
        writes."""
        if self.manifest_digest is not None and blobs.size(self.manifest_digest) is not None:
            came_with = manifest.parse(blobs.read(self.manifest_digest, MAX_DOCUMENT))
            if isinstance(came_with, Manifest):
                return came_with
        layers = tuple(metadata.as_descriptor(layer) for layer in self.layers)
        made = manifest.parse(writer.make_manifest(blobs.read(self.id, MAX_DOCUMENT), layers))
        if not isinstance(made, Manifest):
            raise TypeError("a manifest that was made is an index")
        return made


def choose(tx: Transaction, tenant: str, name: Reference) -> list[Chosen]:
    """Of the repository *name*, the tag that it has, or all there are. Raises `NotFound` and `InvalidArgument` in
    docker's words."""
    if name.digest:
        raise InvalidArgument("cannot push a digest reference", "push a tag")
    named = [
        (own, record)
        for record in metadata.every(tx, tenant)
        for own in record.names
        if own.repository == name.name and own.kind == "tag"
    ]
    if not named:
        raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
    wanted = sorted((own.value, record.id) for own, record in named if not name.tag or own.value == name.tag)
    if not wanted:
        raise NotFound(f"tag does not exist: {name.familiar}")
    return [_chosen(tx, tenant, name, tag, image_id) for tag, image_id in wanted]


def _chosen(tx: Transaction, tenant: str, name: Reference, tag: str, image_id: Digest) -> Chosen:
    sources: dict[Digest, str] = {}
    for digest, repository in metadata.elsewhere(tx, tenant, image_id):
        domain, _, path = repository.partition("/")
        if domain == name.domain and path != name.path:
            sources.setdefault(digest, path)
    return Chosen(
        tag,
        image_id,
        tuple(metadata.layers(tx, image_id, tenant)),
        metadata.manifest_digest(tx, tenant, image_id),
        sources,
    )
