# SPDX-License-Identifier: Apache-2.0
"""What `save` is to write: an image by name has that name, a bare repository all of its tags, an id none."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypercell.base.db import Transaction
from hypercell.base.errors import HypercellError
from hypercell.images import lookup, manifest, metadata, reference
from hypercell.images.archives.writer import Saved
from hypercell.images.blobs import BlobStore
from hypercell.images.digests import Digest
from hypercell.images.documents import MAX_DOCUMENT
from hypercell.images.manifest import Descriptor, Manifest
from hypercell.images.metadata import Name, Record


@dataclass(slots=True)
class Chosen:
    id: Digest
    layers: tuple[Descriptor, ...]
    manifest_digest: Digest | None
    names: dict[Name, None] = field(default_factory=dict)
    """Ordered."""

    @property
    def needs(self) -> list[Digest]:
        """The blobs that must not be swept meanwhile."""
        own = [self.manifest_digest] if self.manifest_digest else []
        return [self.id, *own, *(layer.digest for layer in self.layers)]

    def read(self, blobs: BlobStore) -> Saved:
        """With the documents read from the store. Blocks. Raises `Internal` when one is lost."""
        names = tuple((name.repository, name.value) for name in self.names)
        return Saved(blobs.read(self.id, MAX_DOCUMENT), self.layers, names, self._manifest(blobs))

    def _manifest(self, blobs: BlobStore) -> bytes | None:
        """The manifest that the image came with, if an OCI layout can have it."""
        if self.manifest_digest is None or blobs.size(self.manifest_digest) is None:
            return None
        document = manifest.parse(blobs.read(self.manifest_digest, MAX_DOCUMENT))
        is_oci = isinstance(document, Manifest) and document.media_type == manifest.OCI_MANIFEST
        return document.raw if is_oci else None


def choose(tx: Transaction, tenant: str, references: list[str]) -> list[Chosen]:
    """Raises `NotFound` for the first reference that is no image of the tenant."""
    chosen: dict[str, Chosen] = {}
    for text in references:
        for record, names in _resolve(tx, tenant, text):
            if record.id not in chosen:
                layers = tuple(metadata.as_descriptor(layer) for layer in metadata.layers(tx, record.id, tenant))
                came_with = metadata.manifest_digest(tx, tenant, record.id)
                chosen[record.id] = Chosen(record.id, layers, came_with)
            chosen[record.id].names.update(dict.fromkeys(names))
    return list(chosen.values())


def _resolve(tx: Transaction, tenant: str, text: str) -> list[tuple[Record, list[Name]]]:
    try:
        name = reference.parse(text)
    except HypercellError:
        name = None  # an id in full; `find` says so if it is not
    if name is not None and not name.tag and not name.digest:
        tagged = [
            (record, [own for own in record.names if own.kind == "tag" and own.repository == name.name])
            for record in metadata.every(tx, tenant)
        ]
        if any(names for _, names in tagged):
            return [(record, names) for record, names in tagged if names]
    record = lookup.find(tx, tenant, text)
    if name is None or lookup.is_id(record, text):
        return [(record, [])]
    wanted = lookup.name_of(name.or_latest())
    return [(record, [wanted] if wanted.kind == "tag" else [])]
