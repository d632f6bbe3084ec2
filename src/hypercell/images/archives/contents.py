# SPDX-License-Identifier: Apache-2.0
"""Which images a spooled archive holds, and what it calls them.

A docker archive has `manifest.json` (docker's image-spec v1.2); an OCI layout has `index.json` and its blobs by
digest (OCI image-spec `image-layout.md`). What docker writes today is both, and is read as the former.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypercell.base.errors import InvalidArgument
from hypercell.images import documents, ingredients, manifest, reference
from hypercell.images.archives.spool import Spool, Spooled
from hypercell.images.digests import Digest
from hypercell.images.documents import MAX_DOCUMENT, Fields
from hypercell.images.ingredients import Ingredients
from hypercell.images.manifest import Descriptor, Index, Manifest
from hypercell.images.platforms import Platform
from hypercell.images.reference import Reference

MAX_IMAGES = 256
NAME_ANNOTATION = "io.containerd.image.name"
REF_ANNOTATION = "org.opencontainers.image.ref.name"
_LAYER_TYPES = {"none": manifest.OCI_LAYER, "gzip": f"{manifest.OCI_LAYER}+gzip", "zstd": f"{manifest.OCI_LAYER}+zstd"}


@dataclass(frozen=True, slots=True)
class Found:
    image: Ingredients
    names: tuple[Reference, ...]
    """Each with a tag."""


def images(spool: Spool, wanted: Platform) -> list[Found]:
    """The images of the archive; of one for several platforms, the one for *wanted*."""
    listing = spool.document("manifest.json")
    if listing is not None:
        return _docker(spool, listing)
    index = spool.document("index.json")
    if index is not None:
        return _oci(spool, index, wanted)
    if spool.find("repositories"):
        raise InvalidArgument("the archive is of docker's first format, without manifest.json", "save it again")
    raise InvalidArgument(
        "not an image archive: it has neither manifest.json nor index.json",
        "use `import` for the archive of a root file system",
    )


def _docker(spool: Spool, listing: bytes) -> list[Found]:
    entries = Fields({"images": documents.parse(listing, "manifest.json")}, "manifest.json")
    found = []
    for entry in entries.children("images", MAX_IMAGES):
        raw = spool.document(entry.text("Config"))
        if raw is None:
            raise InvalidArgument(
                f"manifest.json names a config that the archive lacks: {entry.text('Config')[:200]!r}"
            )
        layers = tuple(_docker_layer(spool, name) for name in entry.strings("Layers") or ())
        names = tuple(_tagged(text) for text in entry.strings("RepoTags") or ())
        found.append(Found(ingredients.combine(raw, layers), names))
    return found


def _docker_layer(spool: Spool, name: str) -> Descriptor:
    file = spool.find(name)
    if file is None:
        raise InvalidArgument(f"manifest.json names a layer that the archive lacks: {name[:200]!r}")
    if file.compression not in _LAYER_TYPES:
        raise InvalidArgument(f"a layer is compressed with {file.compression}", "use gzip, zstd or nothing")
    return Descriptor(_LAYER_TYPES[file.compression], file.digest, file.size)


def _oci(spool: Spool, index: bytes, wanted: Platform) -> list[Found]:
    layout = documents.parse_object(spool.document("oci-layout") or b"{}", "oci-layout")
    if layout.get("imageLayoutVersion") != "1.0.0":
        raise InvalidArgument(f"OCI layout of version {layout.get('imageLayoutVersion')!r} is not supported")
    top = manifest.parse(index, manifest.OCI_INDEX)
    if not isinstance(top, Index):
        raise InvalidArgument("index.json is not an index")
    images: dict[Digest, tuple[Ingredients, list[Reference]]] = {}
    for entry in top.manifests[:MAX_IMAGES]:
        if entry.media_type not in manifest.MANIFEST_TYPES + manifest.INDEX_TYPES:
            continue
        made_of = _oci_image(spool, entry, wanted)
        if made_of is not None:
            name = _annotated(entry)
            images.setdefault(made_of.id, (made_of, []))[1].extend([name] if name else [])
    if not images:
        raise InvalidArgument(f"the archive holds no image for {wanted}")
    return [Found(made_of, tuple(dict.fromkeys(names))) for made_of, names in images.values()]


def _oci_image(spool: Spool, entry: Descriptor, wanted: Platform) -> Ingredients | None:
    for _ in range(3):
        raw = _blob(spool, entry, "manifest")
        document = manifest.parse(raw, entry.media_type)
        if isinstance(document, Manifest):
            return _oci_ingredients(spool, document)
        chosen = document.choose(wanted)
        if chosen is None:
            return None
        entry = chosen
    raise InvalidArgument("the archive nests its indexes too deeply")


def _oci_ingredients(spool: Spool, document: Manifest) -> Ingredients:
    raw = _blob(spool, document.config, "image config")
    for layer in document.layers:
        _require(spool, layer, "layer")
    return ingredients.combine(raw, document.layers, document.digest)


def _require(spool: Spool, descriptor: Descriptor, what: str) -> Spooled:
    """The blob must have come with the archive: one that is in the store already may be somebody else's."""
    file = spool.by_digest(descriptor.digest)
    if file is None:
        raise InvalidArgument(f"the archive lacks the {what} {descriptor.digest}, or its content is wrong")
    if file.size != descriptor.size:
        raise InvalidArgument(f"the {what} {descriptor.digest} has {file.size} bytes, not {descriptor.size}")
    return file


def _blob(spool: Spool, descriptor: Descriptor, what: str) -> bytes:
    return spool.store.read(_require(spool, descriptor, what).digest, MAX_DOCUMENT)


def _tagged(text: str) -> Reference:
    name = reference.parse(text)
    if name.digest or not name.tag:
        raise InvalidArgument(f"the archive calls an image {text[:200]!r}, which is not name:tag")
    return name


def _annotated(entry: Descriptor) -> Reference | None:
    """The name in a descriptor's annotations. A bare word is a tag without a repository: no name for an image here."""
    text = entry.annotation(NAME_ANNOTATION) or entry.annotation(REF_ANNOTATION)
    if not any(c in text for c in ":/"):
        return None
    try:
        name = reference.parse(text)
    except InvalidArgument:
        return None
    return None if name.digest else name.or_latest()


def canonical_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
