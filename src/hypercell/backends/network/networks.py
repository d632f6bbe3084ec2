# SPDX-License-Identifier: Apache-2.0
"""The networks that somebody made: kept in the database, and in memory."""

from __future__ import annotations

import ipaddress
import json
import logging
import sqlite3

from hypercell.backends.network.pools import completed
from hypercell.backends.network.rules import bridge_name
from hypercell.base.db import Database, Transaction
from hypercell.base.errors import Conflict, HypercellError
from hypercell.base.ids import is_id
from hypercell.base.typed import build, text
from hypercell.node.network import NetworkRecord, NetworkSpec

log = logging.getLogger(__name__)


class Networks:
    def __init__(self, db: Database, bridge: str) -> None:
        """*bridge*: the daemon's own, of which the names of the others are made."""
        self._db = db
        self._bridge = bridge
        self.damaged: set[str] = set()
        """Ids of those that cannot be read: nobody gets onto them, and nothing of them is removed."""

    async def load(self) -> list[NetworkRecord]:
        """The oldest first; one that cannot be read is left out."""
        query = "SELECT * FROM networks ORDER BY created_ns"
        found = []
        for row in await self._db.run(lambda tx: tx.execute(query).fetchall()):
            try:
                found.append(self._read(row))
            except (ValueError, HypercellError) as error:
                log.error(
                    "the network %.100r cannot be read (%s): repair its row in the table `networks`, or delete it, "
                    "and restart the daemon",
                    *(row["name"], error),
                )
                if isinstance(row["id"], str):
                    self.damaged.add(row["id"])
        return found

    def _read(self, row: sqlite3.Row) -> NetworkRecord:
        if not isinstance(row["id"], str) or not is_id(row["id"]):
            raise ValueError("it has no id")
        if type(row["created_ns"]) is not int or not isinstance(row["spec"], str):
            raise ValueError("a column is not of its type")
        spec = build(NetworkSpec, json.loads(row["spec"]))
        if (spec.tenant, spec.name) != (row["tenant"], row["name"]):
            raise ValueError("it is another one's")
        if completed(spec, ()) != spec:
            raise ValueError("it is not whole")
        return self.record(row["id"], row["created_ns"], spec)

    def record(self, ident: str, created_ns: int, spec: NetworkSpec) -> NetworkRecord:
        return NetworkRecord(ident, created_ns, spec, bridge_name(self._bridge, ident))

    async def insert(self, record: NetworkRecord) -> None:
        """Raises `Conflict` when the tenant has another one of that name."""
        values = (record.id, record.spec.tenant, record.spec.name, record.created_ns, text(record.spec))

        def work(tx: Transaction) -> None:
            tx.execute("INSERT INTO networks (id, tenant, name, created_ns, spec) VALUES (?, ?, ?, ?, ?)", values)

        try:
            await self._db.note(work)
        except sqlite3.IntegrityError as error:
            raise taken_name(record.spec.name) from error

    async def delete(self, ident: str) -> None:
        await self._db.note(lambda tx: tx.execute("DELETE FROM networks WHERE id = ?", (ident,)) and None)


def taken_name(name: str) -> Conflict:
    return Conflict(f"network with name {name} already exists", "choose another name, or use that network")


def subnet_of(record: NetworkRecord) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(record.spec.subnet)
