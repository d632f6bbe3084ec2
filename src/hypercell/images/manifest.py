# SPDX-License-Identifier: Apache-2.0
"""Manifests and indexes of all four media types, validated (OCI image-spec `manifest.md`, `image-index.md`;
distribution's `manifest-v2-2.md`).

A document must be the same kind by its media type and by its content; one that could be read as both is refused
(CVE-2021-41190).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypercell.base.errors import InvalidArgument
from hypercell.images import digests, platforms
from hypercell.images.digests import Digest
from hypercell.images.documents import Fields, parse_object
from hypercell.images.platforms import Platform

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
LAYER_TYPES = frozenset(
    (OCI_LAYER, f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+zstd", DOCKER_LAYER, f"{DOCKER_LAYER}.gzip", f"{DOCKER_LAYER}.zstd")
)
FOREIGN_LAYER_TYPES = frozenset(
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    )
)
_SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

MAX_LAYERS = 128
MAX_MANIFESTS = 1000
MAX_SIZE = 2**50
"""Bytes; a descriptor that claims more lies."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is, and how to know it (OCI image-spec `descriptor.md`)."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    def annotation(self, key: str) -> str:
        return dict(self.annotations).get(key, "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform."""

    media_type: str
    digest: Digest
    config: Descriptor
    layers: tuple[Descriptor, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Index:
    """The same image for several platforms."""

    media_type: str
    digest: Digest
    manifests: tuple[Descriptor, ...]
    raw: bytes

    def choose(self, wanted: Platform) -> Descriptor | None:
        """The entry for *wanted*; attestations and other things that are no images are passed over."""
        images = [entry for entry in self.manifests if entry.media_type in MANIFEST_TYPES + INDEX_TYPES]
        position = platforms.choose(wanted, (entry.platform for entry in images))
        return None if position is None else images[position]


def parse(data: bytes, media_type: str = "") -> Manifest | Index:
    """The document in *data*. *media_type* is what its bearer calls it: a Content-Type, a descriptor's mediaType, or
    empty when it says nothing useful; then the document's own word or, failing that, its content decides."""
    fields = Fields(parse_object(data, "manifest"), "manifest")
    kind = _kind(fields, media_type.partition(";")[0].strip().lower())
    if fields.values.get("schemaVersion") != 2:
        raise InvalidArgument("manifest: schemaVersion must be 2")
    digest = digests.of(data)
    if kind in INDEX_TYPES:
        entries = fields.children("manifests", MAX_MANIFESTS)
        return Index(kind, digest, tuple(_descriptor(entry) for entry in entries), data)
    config = _descriptor(fields.child("config"))
    if config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise InvalidArgument(f"not a container image: its config is {config.media_type!r}")
    layers = tuple(_descriptor(layer) for layer in fields.children("layers", MAX_LAYERS))
    for layer in layers:
        if layer.media_type not in LAYER_TYPES | FOREIGN_LAYER_TYPES:
            raise InvalidArgument(f"not a container image that can be run: a layer is {layer.media_type!r}")
    return Manifest(kind, digest, config, layers, data)


def _kind(fields: Fields, told: str) -> str:
    own = fields.text("mediaType")
    if told in _SCHEMA1 or own in _SCHEMA1 or "fsLayers" in fields.values or fields.values.get("schemaVersion") == 1:
        raise InvalidArgument(
            "the image has a manifest of schema 1, which is obsolete and cannot be verified", "push it again"
        )
    known = MANIFEST_TYPES + INDEX_TYPES
    if told in known and own and own != told:
        raise InvalidArgument(f"manifest: it says {own!r}, but came as {told!r}")
    is_index = "manifests" in fields.values
    is_manifest = "config" in fields.values or "layers" in fields.values
    if is_index == is_manifest:
        raise InvalidArgument("manifest: neither clearly a manifest nor clearly an index")
    kind = told if told in known else own or (OCI_INDEX if is_index else OCI_MANIFEST)
    if kind not in known:
        raise InvalidArgument(f"manifest: unsupported media type {kind!r}")
    if (kind in INDEX_TYPES) != is_index:
        raise InvalidArgument(f"manifest: its content is not what {kind!r} means")
    return kind


def _descriptor(fields: Fields) -> Descriptor:
    size = fields.integer("size")
    if not 0 <= size <= MAX_SIZE:
        raise fields.wrong("size", f"between 0 and {MAX_SIZE}")
    urls = fields.strings("urls") or ()
    return Descriptor(
        media_type=fields.text("mediaType"),
        digest=digests.parse(fields.values.get("digest"), f"digest in {fields.where}"),
        size=size,
        urls=urls[:10],
        platform=_platform(fields),
        annotations=tuple(sorted(fields.string_mapping("annotations").items())),
    )


def _platform(fields: Fields) -> Platform | None:
    if fields.values.get("platform") is None:
        return None
    platform = fields.child("platform")
    return platforms.normalise(platform.text("os"), platform.text("architecture"), platform.text("variant"))


def descriptor_json(descriptor: Descriptor) -> dict[str, Any]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
