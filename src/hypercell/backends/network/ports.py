# SPDX-License-Identifier: Apache-2.0
"""Which port has which MAC and address: kept in the database, and in memory for the hot path."""

from __future__ import annotations

import asyncio
import ipaddress
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from hypercell.base.db import Database, Transaction
from hypercell.base.errors import Conflict
from hypercell.base.ids import is_id
from hypercell.node.network import PublishedPort


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    tenant: str
    network: str
    mac: str
    address: str
    """Without prefix length; empty on network `none`."""


def mac_of(address: str, port_id: str) -> str:
    """A locally administered MAC: of the address, which is unique on the bridge, or of the id where there is none."""
    tail = ipaddress.IPv4Address(address).packed if address else bytes.fromhex(port_id[:8])
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + tail)


class Ports:
    def __init__(self, db: Database, subnet: ipaddress.IPv4Network) -> None:
        self._db = db
        self._subnet = subnet
        self._used: set[int] = set()
        self._next = 0
        self._lock = asyncio.Lock()
        self.known: dict[str, Row] = {}

    async def published(self) -> dict[str, tuple[PublishedPort, ...]]:
        """Read everything from the database; the published ports by port id."""

        def work(tx: Transaction) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
            rows = tx.execute("SELECT id, tenant, network, mac, address FROM network_ports").fetchall()
            return rows, tx.execute("SELECT * FROM network_published ORDER BY container_port").fetchall()

        rows, published = await self._db.run(work)
        self.known = {row["id"]: Row(**dict(row)) for row in rows}
        self._used = {int(ipaddress.IPv4Address(row.address)) for row in self.known.values() if row.address}
        found: dict[str, tuple[PublishedPort, ...]] = {}
        for row in published:
            port = PublishedPort(row["container_port"], row["protocol"], row["host_ip"], row["host_port"])
            found[row["port_id"]] = (*found.get(row["port_id"], ()), port)
        return found

    async def allocate(self, port_id: str, tenant: str, network: str) -> Row:
        """The row of *port_id*, made if it is new. Raises `Conflict` when the subnet is full."""
        if not is_id(port_id):
            raise ValueError(f"not a port id: {port_id!r}")
        async with self._lock:
            if port_id in self.known:
                return self.known[port_id]
            address = self._free_address() if network == "bridge" else ""
            row = Row(port_id, tenant, network, mac_of(address, port_id), address)
            # Known before it is written: a caller that is cancelled meanwhile can still release it.
            self.known[port_id] = row
            if address:
                self._used.add(int(ipaddress.IPv4Address(address)))
            try:
                await self._db.run(
                    lambda tx: tx.execute(
                        "INSERT INTO network_ports (id, tenant, network, mac, address) VALUES (?, ?, ?, ?, ?)",
                        (row.id, row.tenant, row.network, row.mac, row.address),
                    )
                )
            except Exception:
                self._forget(port_id)
                raise
            return row

    def _free_address(self) -> str:
        # Round and round, so that an address just given back is not given out again at once (ARP caches).
        first = int(self._subnet.network_address) + 2
        count = self._subnet.num_addresses - 3
        for step in range(count):
            candidate = first + (self._next + step) % count
            if candidate not in self._used:
                self._next = (candidate - first + 1) % count
                return str(ipaddress.IPv4Address(candidate))
        raise Conflict(f"the subnet {self._subnet} is full", "remove containers, or set a larger `subnet`")

    async def publish(self, port_id: str, ports: Iterable[PublishedPort]) -> None:
        """Replace what *port_id* publishes."""
        values = [(port_id, p.protocol, p.host_ip, p.host_port, p.container_port) for p in ports]

        def work(tx: Transaction) -> None:
            tx.execute("DELETE FROM network_published WHERE port_id = ?", (port_id,))
            tx.executemany(
                "INSERT INTO network_published (port_id, protocol, host_ip, host_port, container_port)"
                " VALUES (?, ?, ?, ?, ?)",
                values,
            )

        await self._db.run(work)

    async def release(self, port_id: str) -> None:
        async with self._lock:
            await self._db.run(lambda tx: tx.execute("DELETE FROM network_ports WHERE id = ?", (port_id,)))
            self._forget(port_id)

    def _forget(self, port_id: str) -> None:
        row = self.known.pop(port_id, None)
        if row is not None and row.address:
            self._used.discard(int(ipaddress.IPv4Address(row.address)))
