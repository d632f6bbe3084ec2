# SPDX-License-Identifier: Apache-2.0
"""One tar that is a docker archive and an OCI layout at once, as docker writes since 25: `blobs/sha256/…`,
`index.json`, `manifest.json`, `oci-layout`, `repositories`. Blobs go out as they came in; the same images always
give the same bytes.
"""

from __future__ import annotations

import tarfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercell.images import digests, manifest, reference
from hypercell.images.archives.contents import NAME_ANNOTATION, REF_ANNOTATION, canonical_json
from hypercell.images.digests import Digest
from hypercell.images.manifest import Descriptor
from hypercell.images.threads import in_thread

CHUNK = 1024 * 1024
BLOCK = 512


@dataclass(frozen=True, slots=True)
class Saved:
    """One image to write."""

    config: bytes
    layers: tuple[Descriptor, ...]
    names: tuple[tuple[str, str], ...]
    """(repository in full, tag)."""
    manifest: bytes | None = None
    """An OCI manifest that lists exactly these layers; None: one is made."""


async def write(images: list[Saved], path_of: Callable[[Digest], Path]) -> AsyncGenerator[bytes, None]:
    """The archive, in chunks. *path_of* tells the file of a layer's digest; the caller holds leases on them."""
    documents: dict[Digest, bytes] = {}
    layers: dict[Digest, Descriptor] = {}
    index: list[dict[str, Any]] = []
    listing: list[dict[str, Any]] = []
    for image in images:
        document = image.manifest or make_manifest(image.config, image.layers)
        documents[digests.of(document)] = document
        documents[digests.of(image.config)] = image.config
        layers.update((layer.digest, layer) for layer in image.layers)
        index += _index_entries(document, image.names)
        listing.append(_listing_entry(image))
    for digest in sorted(layers.keys() | documents.keys()):
        if digest in documents:
            for chunk in _file(_blob_name(digest), documents[digest]):
                yield chunk
        else:
            async with aclosing(_copy(_blob_name(digest), path_of(digest), layers[digest].size)) as chunks:
                async for chunk in chunks:
                    yield chunk
    for name, document in _documents(images, index, listing):
        for chunk in _file(name, document):
            yield chunk
    yield bytes(2 * BLOCK)


def _documents(
    images: list[Saved], index: list[dict[str, Any]], listing: list[dict[str, Any]]
) -> Iterator[tuple[str, bytes]]:
    yield "index.json", canonical_json({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": index})
    yield "manifest.json", canonical_json(listing)
    yield "oci-layout", canonical_json({"imageLayoutVersion": "1.0.0"})
    repositories: dict[str, dict[str, str]] = {}
    for image in images:
        for repository, tag in image.names:
            top = digests.hex_of(image.layers[-1].digest)
            repositories.setdefault(reference.familiar(repository), {})[tag] = top
    if repositories:
        yield "repositories", canonical_json(repositories)


def make_manifest(config: bytes, layers: tuple[Descriptor, ...]) -> bytes:
    """An OCI manifest for a config and its layers."""
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_MANIFEST,
            "config": manifest.descriptor_json(Descriptor(manifest.OCI_CONFIG, digests.of(config), len(config))),
            "layers": [
                manifest.descriptor_json(Descriptor(_oci_type(layer.media_type), layer.digest, layer.size))
                for layer in layers
            ],
        }
    )


def _oci_type(media_type: str) -> str:
    """docker's media types for layers in OCI's words. A foreign layer is here in full, so it is an ordinary one."""
    for ending in ("gzip", "zstd"):
        if media_type.endswith((f".{ending}", f"+{ending}")):
            return f"{manifest.OCI_LAYER}+{ending}"
    return manifest.OCI_LAYER


def _index_entries(document: bytes, names: tuple[tuple[str, str], ...]) -> Iterator[dict[str, Any]]:
    entry = manifest.descriptor_json(Descriptor(manifest.OCI_MANIFEST, digests.of(document), len(document)))
    if not names:
        yield entry
    for repository, tag in names:
        yield {**entry, "annotations": {NAME_ANNOTATION: f"{repository}:{tag}", REF_ANNOTATION: tag}}


def _listing_entry(image: Saved) -> dict[str, Any]:
    return {
        "Config": _blob_name(digests.of(image.config)),
        "RepoTags": [f"{reference.familiar(repository)}:{tag}" for repository, tag in image.names] or None,
        "Layers": [_blob_name(layer.digest) for layer in image.layers],
    }


def _blob_name(digest: Digest) -> str:
    return f"blobs/sha256/{digests.hex_of(digest)}"


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.GNU_FORMAT)


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data)) + data + bytes(-len(data) % BLOCK)


async def _copy(name: str, path: Path, size: int) -> AsyncGenerator[bytes, None]:
    yield _header(name, size)
    with path.open("rb") as file:
        while chunk := await in_thread(file.read, CHUNK):
            yield chunk
    yield bytes(-size % BLOCK)
