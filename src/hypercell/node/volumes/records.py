# SPDX-License-Identifier: Apache-2.0
"""The table of volumes. Rows come and go in one transaction with the container for which they do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hypercell.base.db import Database, Transaction
from hypercell.base.errors import Conflict
from hypercell.base.ids import is_id, is_name
from hypercell.node.volumes.volume import Volume

_COLUMNS = ("id", "tenant", "name", "created_ns", "size", "labels", "options", "clean")
_INSERT = f"INSERT INTO volumes ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608


@dataclass(slots=True)
class Loaded:
    volumes: list[Volume] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Of rows that cannot be read: which, and why."""
    damaged: set[str] = field(default_factory=set)
    """Ids of volumes whose rows cannot be read."""
    nameless: bool = False
    """Of some row not even the id can be read: nobody knows what belongs to whom."""


def insert(tx: Transaction, volumes: Iterable[Volume]) -> None:
    """Raises `Conflict` when a tenant has another volume of that name."""
    for volume in volumes:
        texts = (_json(volume.labels), _json(volume.options), volume.clean)
        try:
            tx.execute(_INSERT, (volume.id, volume.tenant, volume.name, volume.created_ns, volume.size, *texts))
        except sqlite3.IntegrityError as error:
            raise Conflict(f'the volume name "{volume.name}" is already in use', "choose another name") from error


def delete(tx: Transaction, volume_ids: Iterable[str]) -> None:
    tx.executemany("DELETE FROM volumes WHERE id = ?", [(volume_id,) for volume_id in volume_ids])


def note_clean(tx: Transaction, volume_ids: Iterable[str], clean: bool) -> None:
    tx.executemany("UPDATE volumes SET clean = ? WHERE id = ?", [(clean, volume_id) for volume_id in volume_ids])


async def load(db: Database) -> Loaded:
    """All of them. One that cannot be read is left out, and left as it is for whoever can repair it."""
    rows = await db.run(lambda tx: tx.execute("SELECT * FROM volumes ORDER BY created_ns").fetchall())
    loaded = Loaded()
    for row in rows:
        try:
            loaded.volumes.append(_volume(row))
        except (ValueError, TypeError, RecursionError) as error:
            loaded.faults.append(f"{row['name']!r:.100}: {error}"[:300])
            if isinstance(row["id"], str) and is_id(row["id"]):
                loaded.damaged.add(row["id"])
            else:
                loaded.nameless = True
    return loaded


def _volume(row: sqlite3.Row) -> Volume:
    ident, tenant, name = row["id"], row["tenant"], row["name"]
    if not (isinstance(ident, str) and is_id(ident)):
        raise ValueError("volumes.id is no id")
    if not (isinstance(tenant, str) and tenant and isinstance(name, str) and is_name(name)):
        raise ValueError("volumes.tenant or volumes.name cannot be read")
    if type(row["created_ns"]) is not int or type(row["size"]) is not int or row["size"] <= 0:
        raise ValueError("volumes.created_ns or volumes.size is no count")
    labels, options = _texts(row["labels"]), _texts(row["options"])
    return Volume(ident, tenant, name, row["created_ns"], row["size"], labels, options, row["clean"] == 1)


def _texts(stored: str) -> dict[str, str]:
    values = json.loads(stored)
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError("volumes.labels or volumes.options is no object of texts")
    return values


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), separators=(",", ":"), ensure_ascii=False)
