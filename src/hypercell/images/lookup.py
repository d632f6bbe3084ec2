# SPDX-License-Identifier: Apache-2.0
"""From what a user writes to an image of theirs: a name, a digest, an id or the beginning of one, in docker's order."""

from __future__ import annotations

from hypercell.base.db import Transaction
from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.images import metadata, reference
from hypercell.images.metadata import Name, Record
from hypercell.images.reference import Reference


def find(tx: Transaction, tenant: str, text: str) -> Record:
    """Raises `NotFound`, `InvalidArgument` for an ambiguous prefix or something that can be no image."""
    prefix = reference.id_prefix(text)
    if prefix is not None and len(prefix) == 64:
        record = metadata.by_id(tx, tenant, f"sha256:{prefix}")
        if record is None:
            raise NotFound(f"No such image: sha256:{prefix}")
        return record
    name = None if text.startswith("sha256:") else reference.parse(text).or_latest()
    if name is not None and (record := metadata.by_name(tx, tenant, name_of(name))):
        return record
    found = metadata.by_prefix(tx, tenant, prefix) if prefix else []
    if len(found) > 1:
        raise InvalidArgument(f"the image id prefix {text!r} is ambiguous", "give more digits")
    if not found:
        raise NotFound(f"No such image: {name.familiar if name else text[:100]}")
    return found[0]


def is_id(record: Record, text: str) -> bool:
    """Whether *text* named *record* by its id rather than by a name."""
    prefix = reference.id_prefix(text)
    return prefix is not None and record.id.startswith(f"sha256:{prefix}")


def name_of(name: Reference) -> Name:
    """The row for a reference with a tag or a digest; a digest goes before a tag, as docker has it."""
    if name.digest:
        return Name(name.name, "digest", name.digest)
    return Name(name.name, "tag", name.tag)
