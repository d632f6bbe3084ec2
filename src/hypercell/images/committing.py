# SPDX-License-Identifier: Apache-2.0
"""An image made of another: its layers and one more, and a configuration with one more step in its history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, BinaryIO

from hypercell.base.db import Transaction
from hypercell.base.errors import InvalidArgument
from hypercell.images import digests, ingredients, lookup, manifest, metadata, platforms
from hypercell.images.archives.contents import canonical_json
from hypercell.images.archives.spool import LIMITS
from hypercell.images.blobs import BlobStore, Lease
from hypercell.images.config import ParsedConfig
from hypercell.images.contract import Revision
from hypercell.images.ingredients import Ingredients
from hypercell.images.manifest import Descriptor
from hypercell.images.metadata import Record

EMPTY_TAR = bytes(1024)
EMPTY = digests.of(EMPTY_TAR)
"""The layer without a change. It is no part of an image that has another."""
_CHUNK = 1 << 20
_KEPT = ("architecture", "os", "os.version", "os.features", "variant")


def find_base(tx: Transaction, tenant: str, parent: str) -> tuple[Record, tuple[Descriptor, ...]]:
    """*parent* and its layers. Raises `NotFound`."""
    record = lookup.find(tx, tenant, parent)
    return record, tuple(metadata.as_descriptor(layer) for layer in metadata.layers(tx, record.id, tenant))


def store_layer(stream: BinaryIO, store: BlobStore, lease: Lease) -> Descriptor:
    """The tar in *stream*, as it is. Blocks. Raises `InvalidArgument`, `NoSpace`."""
    with store.writer() as writer:
        while chunk := stream.read(_CHUNK):
            writer.write(chunk)
            if writer.size > LIMITS.layer_bytes:
                words = f"the container has changed more than {LIMITS.layer_bytes >> 30} GiB"
                raise InvalidArgument(words, "keep what need not be in the image out of it")
        return Descriptor(manifest.OCI_LAYER, writer.commit(lease), writer.size)


def combine(
    parent: ParsedConfig | None, below: tuple[Descriptor, ...], layer: Descriptor | None, revision: Revision
) -> tuple[bytes, tuple[Descriptor, ...], Ingredients]:
    """The config document, and with its layers what makes the image. Raises `InvalidArgument` for a wrong
    `revision.config`.

    A layer without a change is left out, unless there is no other.
    """
    pairs = list(zip(below, parent.diff_ids if parent else (), strict=True))
    if layer is not None and layer.digest != EMPTY:
        pairs = [pair for pair in pairs if pair[1] != EMPTY]
        pairs.append((layer, layer.digest))
    if not pairs:
        pairs.append((Descriptor(manifest.OCI_LAYER, EMPTY, len(EMPTY_TAR)), EMPTY))
    grown = layer is not None and layer.digest != EMPTY
    raw = canonical_json(_document(parent, [diff_id for _, diff_id in pairs], revision, grown))
    layers = tuple(descriptor for descriptor, _ in pairs)
    return raw, layers, ingredients.combine(raw, layers)


def _document(parent: ParsedConfig | None, diff_ids: list[str], revision: Revision, grown: bool) -> dict[str, Any]:
    now = revision.created or datetime.now(UTC).isoformat().replace("+00:00", "Z")
    before = dict(parent.config.raw) if parent else _platform()
    values: dict[str, Any] = {key: before[key] for key in _KEPT if before.get(key)}
    author = revision.author or before.get("author")
    if author:
        values["author"] = author
    history = [dict(step) for step in (parent.config.history if parent else ())]
    if revision.created_by or revision.comment:
        step: dict[str, Any] = {"created": now, "created_by": revision.created_by}
        step |= {key: text for key, text in (("author", revision.author), ("comment", revision.comment)) if text}
        history.append(step if grown else {**step, "empty_layer": True})
    return {
        **values,
        "created": now,
        "config": dict(revision.config),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }


def _platform() -> dict[str, Any]:
    host = platforms.host()
    return {"architecture": host.architecture, "os": host.os, "variant": host.variant}
