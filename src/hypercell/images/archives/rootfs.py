# SPDX-License-Identifier: Apache-2.0
"""An image of one layer out of the tar of a root file system, as docker's `import` makes it."""

from __future__ import annotations

from typing import Any, BinaryIO

from hypercell.images import ingredients, manifest
from hypercell.images.archives import changes
from hypercell.images.archives.contents import canonical_json
from hypercell.images.archives.spool import LIMITS
from hypercell.images.blobs import BlobStore, Lease
from hypercell.images.ingredients import Ingredients
from hypercell.images.layers import Expansion, decompress
from hypercell.images.manifest import Descriptor
from hypercell.images.platforms import Platform

DEFAULT_MESSAGE = "Imported from -"


def store_layer(stream: BinaryIO, store: BlobStore, lease: Lease) -> Descriptor:
    """The archive in *stream* as a layer: uncompressed, because it may come in a compression that layers do not
    have (xz, bzip2). Blocks. Raises `InvalidArgument`, `NoSpace`."""
    with store.writer() as writer:
        for chunk in decompress(stream, Expansion(LIMITS.layer_bytes, LIMITS.ratio, LIMITS.ratio_floor, LIMITS.frames)):
            writer.write(chunk)
        return Descriptor(manifest.OCI_LAYER, writer.commit(lease), writer.size)


def make_config(layer: Descriptor, platform: Platform, message: str, edits: list[str], created: str) -> bytes:
    """The config document; *created* is RFC 3339. Raises `InvalidArgument` for a wrong instruction in *edits*."""
    values: dict[str, Any] = {
        "created": created,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": changes.apply(edits, {}),
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created": created, "comment": message or DEFAULT_MESSAGE}],
    }
    if platform.variant:
        values["variant"] = platform.variant
    return canonical_json(values)


def combine(raw: bytes, layer: Descriptor) -> Ingredients:
    return ingredients.combine(raw, (layer,))
