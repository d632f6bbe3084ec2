# SPDX-License-Identifier: Apache-2.0
"""Rows of images, tags and digests: every function runs inside one transaction of the daemon's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from hypercell.base.db import Transaction
from hypercell.base.errors import Internal
from hypercell.base.ids import short
from hypercell.images import config, digests, reference
from hypercell.images.digests import Digest
from hypercell.images.ingredients import Ingredients
from hypercell.images.manifest import Descriptor


@dataclass(frozen=True, slots=True)
class Name:
    """What an image is called in one repository: a tag or a digest."""

    repository: str
    """In full: `docker.io/library/busybox`."""
    kind: str
    """`tag` or `digest`."""
    value: str

    @property
    def familiar(self) -> str:
        return reference.familiar(self.repository) + ("@" if self.kind == "digest" else ":") + self.value


@dataclass(frozen=True, slots=True)
class Record:
    """An image as the database knows it."""

    id: Digest
    config: str
    chain_id: Digest
    size: int
    created_ns: int
    last_tagged_ns: int
    names: tuple[Name, ...]
    damage: str = ""
    """Why the row cannot be read; *config* is then empty, and what else was illegible too."""


@dataclass(frozen=True, slots=True)
class Layer:
    digest: Digest
    diff_id: Digest
    chain_id: Digest
    media_type: str
    size: int


_KNOW_LAYER = (
    "INSERT INTO layer_facts (digest, diff_id, content_bytes) VALUES (?, ?, ?)"
    " ON CONFLICT (digest) DO UPDATE SET diff_id = excluded.diff_id, content_bytes = excluded.content_bytes"
)
_SELECT = "SELECT id, config, chain_id, size, created_ns, last_tagged_ns FROM images WHERE tenant = ?"


def add(tx: Transaction, tenant: str, made_of: Ingredients, size: int, names: Iterable[Name], now_ns: int) -> None:
    """Record an image, or give the one that is there already more names. Its tags are taken from whoever had them."""
    names = [*_drop_damaged(tx, tenant, made_of), *names]
    created = tx.execute(
        "INSERT INTO images (tenant, id, config, chain_id, manifest_digest, size, created_ns, last_tagged_ns)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
        (
            tenant,
            made_of.id,
            made_of.config_text,
            made_of.chain_id,
            made_of.manifest_digest or "",
            size,
            config.created_ns(made_of.parsed.config.created),
        ),
    ).rowcount
    if created:
        rows = zip(made_of.layers, made_of.parsed.diff_ids, made_of.chains, strict=True)
        for position, (layer, diff_id, chain_id) in enumerate(rows):
            tx.execute(
                "INSERT INTO image_layers (tenant, image_id, position, digest, diff_id, chain_id, media_type, size)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (tenant, made_of.id, position, layer.digest, diff_id, chain_id, layer.media_type, layer.size),
            )
    for name in names:
        put_name(tx, tenant, made_of.id, name, now_ns)


def _drop_damaged(tx: Transaction, tenant: str, made_of: Ingredients) -> tuple[Name, ...]:
    """Make room for an image that comes again because its rows cannot be read; its names, which go with them."""
    record = by_id(tx, tenant, made_of.id)
    if record is None:
        return ()
    try:
        whole = len(layers(tx, made_of.id, tenant)) == len(made_of.layers) and not record.damage
    except Internal:
        whole = False
    if whole and record.config == made_of.config_text:
        return ()
    delete(tx, tenant, made_of.id)
    return record.names


def put_name(tx: Transaction, tenant: str, image_id: str, name: Name, now_ns: int) -> None:
    tx.execute(
        "INSERT INTO image_names (tenant, repository, kind, value, image_id) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (tenant, repository, kind, value) DO UPDATE SET image_id = excluded.image_id",
        (tenant, name.repository, name.kind, name.value, image_id),
    )
    if name.kind == "tag":
        tx.execute("UPDATE images SET last_tagged_ns = ? WHERE tenant = ? AND id = ?", (now_ns, tenant, image_id))


def note_digest(tenant: str, image_id: Digest, repository: str, digest: Digest, tx: Transaction) -> None:
    """What the image is called in a repository that has it now, unless it has been removed here meanwhile."""
    if by_id(tx, tenant, image_id) is not None:
        put_name(tx, tenant, image_id, Name(repository, "digest", digest), 0)


def drop_name(tx: Transaction, tenant: str, name: Name) -> None:
    tx.execute(
        "DELETE FROM image_names WHERE tenant = ? AND repository = ? AND kind = ? AND value = ?",
        (tenant, name.repository, name.kind, name.value),
    )


def delete(tx: Transaction, tenant: str, image_id: str) -> list[Digest]:
    """Remove an image with its names. Returns the chain ids that no other image of the tenant has, topmost first."""
    rows = tx.execute(
        "SELECT chain_id FROM image_layers AS mine WHERE tenant = ? AND image_id = ? AND NOT EXISTS (SELECT 1 FROM"
        " image_layers AS other WHERE other.tenant = mine.tenant AND other.chain_id = mine.chain_id"
        " AND other.image_id <> mine.image_id) ORDER BY position DESC",
        (tenant, image_id),
    ).fetchall()
    tx.execute("DELETE FROM images WHERE tenant = ? AND id = ?", (tenant, image_id))
    return [row[0] for row in rows if digests.is_digest(row[0])]


def by_name(tx: Transaction, tenant: str, name: Name) -> Record | None:
    row = tx.execute(
        "SELECT image_id FROM image_names WHERE tenant = ? AND repository = ? AND kind = ? AND value = ?",
        (tenant, name.repository, name.kind, name.value),
    ).fetchone()
    return None if row is None else by_id(tx, tenant, row[0])


def by_id(tx: Transaction, tenant: str, image_id: str) -> Record | None:
    row = tx.execute(_SELECT + " AND id = ?", (tenant, image_id)).fetchone()
    return None if row is None else _record(row, _names(tx, tenant, image_id))


def by_prefix(tx: Transaction, tenant: str, prefix: str) -> list[Record]:
    """At most two: more than one is ambiguous already. *prefix* is hex digits."""
    rows = tx.execute(_SELECT + " AND id LIKE ? ORDER BY id LIMIT 2", (tenant, f"sha256:{prefix}%")).fetchall()
    return [_record(row, _names(tx, tenant, row[0])) for row in rows]


def every(tx: Transaction, tenant: str) -> list[Record]:
    """Newest first."""
    names: dict[str, list[Name]] = {}
    for image_id, *name in tx.execute(
        "SELECT image_id, repository, kind, value FROM image_names WHERE tenant = ? ORDER BY repository, kind, value",
        (tenant,),
    ):
        names.setdefault(image_id, []).extend(_legible(name))
    rows = tx.execute(_SELECT + " ORDER BY created_ns DESC, id", (tenant,)).fetchall()
    return [_record(row, tuple(names.get(row[0], ()))) for row in rows if digests.is_digest(row[0])]


def _record(row: sqlite3.Row, names: tuple[Name, ...]) -> Record:
    image_id, text, chain_id, size, created_ns, last_tagged_ns = row
    numbers = (size, created_ns, last_tagged_ns)
    wrong = [
        column
        for column, fits in (
            ("config", isinstance(text, str)),
            ("chain_id", digests.is_digest(chain_id)),
            ("size, created_ns or last_tagged_ns", all(type(number) is int and number >= 0 for number in numbers)),
        )
        if not fits
    ]
    if not wrong:
        return Record(image_id, text, chain_id, size, created_ns, last_tagged_ns, names)
    return Record(image_id, "", digests.of(b""), 0, 0, 0, names, f"images.{' and '.join(wrong)}")


def _legible(columns: Iterable[object]) -> list[Name]:
    """The name in a row; none if it is not one."""
    texts = [column for column in columns if isinstance(column, str)]
    return [Name(*texts)] if len(texts) == 3 else []


def _names(tx: Transaction, tenant: str, image_id: str) -> tuple[Name, ...]:
    rows = tx.execute(
        "SELECT repository, kind, value FROM image_names WHERE tenant = ? AND image_id = ?"
        " ORDER BY repository, kind, value",
        (tenant, image_id),
    )
    return tuple(name for row in rows for name in _legible(row))


def layers(tx: Transaction, image_id: str, tenant: str | None = None) -> list[Layer]:
    """Lowest first; empty when there is no such image. Without *tenant*, those of any tenant's copy of the image.

    Raises `Internal` for rows that cannot be read.
    """
    if tenant is None:
        row = tx.execute("SELECT tenant FROM images WHERE id = ? ORDER BY tenant LIMIT 1", (image_id,)).fetchone()
        if row is None:
            return []
        tenant = row[0]
    rows = tx.execute(
        "SELECT digest, diff_id, chain_id, media_type, size FROM image_layers WHERE tenant = ? AND image_id = ?"
        " ORDER BY position",
        (tenant, image_id),
    )
    return [_layer(row, image_id) for row in rows]


def _layer(row: sqlite3.Row, image_id: str) -> Layer:
    digest, diff_id, chain_id, media_type, size = row
    if not (
        all(map(digests.is_digest, (digest, diff_id, chain_id)))
        and isinstance(media_type, str)
        and type(size) is int
        and size >= 0
    ):
        raise damaged(image_id, "image_layers")
    return Layer(digest, diff_id, chain_id, media_type, size)


def damaged(image_id: str, where: str) -> Internal:
    """What whoever wants to use the image is told."""
    return Internal(
        f"the record of the image {short(image_id)} in the database cannot be read ({where})",
        "pull or load it again, or remove it",
    )


def manifest_digest(tx: Transaction, tenant: str, image_id: str) -> Digest | None:
    """The manifest that the image came with."""
    row = tx.execute("SELECT manifest_digest FROM images WHERE tenant = ? AND id = ?", (tenant, image_id)).fetchone()
    return row[0] or None if row else None


def elsewhere(tx: Transaction, tenant: str, image_id: str) -> list[tuple[Digest, str]]:
    """(digest, repository) for every blob of an image: the repositories that an image of the tenant with that blob was
    pulled from or pushed to."""
    rows = tx.execute(
        "SELECT layer.digest, name.repository FROM image_layers AS layer JOIN image_names AS name"
        " ON name.tenant = layer.tenant AND name.image_id = layer.image_id AND name.kind = 'digest'"
        " WHERE layer.tenant = ? AND layer.digest IN"
        " (SELECT digest FROM image_layers WHERE tenant = layer.tenant AND image_id = ?)"
        " UNION SELECT image_id, repository FROM image_names WHERE tenant = ? AND image_id = ? AND kind = 'digest'"
        " ORDER BY 1, 2",
        (tenant, image_id, tenant, image_id),
    ).fetchall()
    return [(digest, repository) for digest, repository in rows if digests.is_digest(digest)]


def owns(tx: Transaction, tenant: str, digest: Digest) -> bool:
    """Whether *digest* is a layer or the config of one of the tenant's images."""
    found = tx.execute(
        "SELECT 1 FROM image_layers WHERE tenant = ? AND digest = ? UNION ALL"
        " SELECT 1 FROM images WHERE tenant = ? AND id = ? LIMIT 1",
        (tenant, digest, tenant, digest),
    ).fetchone()
    return found is not None


def know(
    tx: Transaction, layers: Iterable[tuple[Digest, Digest]], sizes: Iterable[int], chain_id: Digest, content_bytes: int
) -> None:
    """Keep what reading the layers, (digest, diff id) each, has shown; *sizes*: what each takes unpacked."""
    for (digest, diff_id), size in zip(layers, sizes, strict=True):
        tx.execute(_KNOW_LAYER, (digest, diff_id, size))
    tx.execute(
        "INSERT INTO chain_facts (chain_id, content_bytes) VALUES (?, ?)"
        " ON CONFLICT (chain_id) DO UPDATE SET content_bytes = excluded.content_bytes",
        (chain_id, content_bytes),
    )


def known_size(tx: Transaction, layers: Iterable[tuple[Digest, Digest]], chain_id: Digest) -> int | None:
    """Bytes of files in the chain, provided that every layer is known to be what its diff id says; else None."""
    for digest, diff_id in layers:
        row = tx.execute("SELECT diff_id FROM layer_facts WHERE digest = ?", (digest,)).fetchone()
        if row is None or row[0] != diff_id:
            return None
    row = tx.execute("SELECT content_bytes FROM chain_facts WHERE chain_id = ?", (chain_id,)).fetchone()
    return row[0] if row is not None and type(row[0]) is int else None


def layer_sizes(tx: Transaction, tenant: str, image_id: str) -> list[int]:
    """What each layer of an image takes unpacked, lowest first; 0 for one that was read before this was counted."""
    rows = tx.execute(
        "SELECT fact.content_bytes FROM image_layers AS layer LEFT JOIN layer_facts AS fact"
        " ON fact.digest = layer.digest AND fact.diff_id = layer.diff_id"
        " WHERE layer.tenant = ? AND layer.image_id = ? ORDER BY layer.position",
        (tenant, image_id),
    )
    return [row[0] if type(row[0]) is int and row[0] >= 0 else 0 for row in rows]


@dataclass(frozen=True, slots=True)
class Reachable:
    blobs: set[Digest]
    chains: set[Digest]


def reachable(tx: Transaction) -> Reachable:
    """What the images of all tenants need. Forgets facts about anything else."""
    tx.execute("DELETE FROM layer_facts WHERE digest NOT IN (SELECT digest FROM image_layers)")
    tx.execute("DELETE FROM chain_facts WHERE chain_id NOT IN (SELECT chain_id FROM images)")
    blobs = tx.execute(
        "SELECT digest FROM image_layers UNION SELECT id FROM images UNION SELECT manifest_digest FROM images"
    )
    chains = tx.execute("SELECT DISTINCT chain_id FROM images")
    return Reachable({row[0] for row in blobs}, {row[0] for row in chains})


def as_descriptor(layer: Layer) -> Descriptor:
    return Descriptor(layer.media_type, layer.digest, layer.size)
