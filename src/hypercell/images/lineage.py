# SPDX-License-Identifier: Apache-2.0
"""Which image was made of which: rows, read and written inside transactions of the daemon's database."""

from __future__ import annotations

from hypercell.base.db import Transaction
from hypercell.images import digests


def note(tx: Transaction, tenant: str, image_id: str, parent: str, step: str, now_ns: int) -> None:
    tx.execute(
        "INSERT INTO image_lineage (tenant, image_id, parent, step) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (tenant, image_id, parent, step),
    )
    use(tx, tenant, image_id, now_ns)


def use(tx: Transaction, tenant: str, image_id: str, now_ns: int) -> None:
    """A build has made the image, or taken it from the cache."""
    tx.execute("UPDATE image_lineage SET used_ns = ? WHERE tenant = ? AND image_id = ?", (now_ns, tenant, image_id))


def made_by(tx: Transaction, tenant: str, parent: str, step: str) -> list[str]:
    """Ids of the images that *step* made of *parent*, newest first."""
    rows = tx.execute(
        "SELECT image_id FROM image_lineage JOIN images ON images.tenant = image_lineage.tenant"
        " AND images.id = image_lineage.image_id WHERE image_lineage.tenant = ? AND parent = ? AND step = ?"
        " ORDER BY created_ns DESC, image_id",
        (tenant, parent, step),
    )
    return [row[0] for row in rows if digests.is_digest(row[0])]


def steps(tx: Transaction, tenant: str) -> dict[str, int]:
    """By id of the images that steps of builds made, when a build last made or took each; 0 where nobody noted it."""
    rows = tx.execute("SELECT image_id, used_ns FROM image_lineage WHERE tenant = ? AND step <> ''", (tenant,))
    return {row[0]: row[1] if type(row[1]) is int else 0 for row in rows}


def parents(tx: Transaction, tenant: str) -> dict[str, str]:
    """By image id, of those images whose parent is still here."""
    rows = tx.execute(
        "SELECT image_id, parent FROM image_lineage WHERE tenant = ?"
        " AND parent IN (SELECT id FROM images WHERE images.tenant = image_lineage.tenant)",
        (tenant,),
    )
    return {row[0]: row[1] for row in rows if digests.is_digest(row[1])}


def parent_of(tx: Transaction, tenant: str, image_id: str) -> str:
    """Empty if there is none, or it has gone."""
    row = tx.execute(
        "SELECT parent FROM image_lineage WHERE tenant = ? AND image_id = ?"
        " AND parent IN (SELECT id FROM images WHERE images.tenant = image_lineage.tenant)",
        (tenant, image_id),
    ).fetchone()
    return row[0] if row is not None and digests.is_digest(row[0]) else ""


def child_of(tx: Transaction, tenant: str, image_id: str) -> str:
    """One of the images that were made of it; empty if there is none."""
    row = tx.execute(
        "SELECT image_id FROM image_lineage WHERE tenant = ? AND parent = ? LIMIT 1", (tenant, image_id)
    ).fetchone()
    return str(row[0]) if row is not None else ""
