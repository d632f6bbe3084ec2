# SPDX-License-Identifier: Apache-2.0
"""Which port has which MAC and address: kept in the database, and in memory for the hot path."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from hypercell.base.db import Database, Transaction
from hypercell.base.errors import Conflict
from hypercell.base.ids import is_id
from hypercell.node.network import PublishedPort

log = logging.getLogger(__name__)

_PUBLISH = (
    "INSERT INTO network_published (port_id, protocol, host_ip, host_port, container_port) VALUES (?, ?, ?, ?, ?)"
)


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
        self.damaged: dict[str, str] = {}
        """Ports whose row cannot be read, and why: nobody can be on the network with them, until they are released."""

    async def published(self) -> dict[str, tuple[PublishedPort, ...]]:
        """Read everything from the database; the published ports by port id. What cannot be read is left out."""

        def work(tx: Transaction) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
            rows = tx.execute("SELECT id, tenant, network, mac, address FROM network_ports").fetchall()
            return rows, tx.execute("SELECT * FROM network_published ORDER BY container_port").fetchall()

        rows, published = await self._db.run(work)
        for row in rows:
            self._load(row)
        found: dict[str, tuple[PublishedPort, ...]] = {}
        for row in published:
            try:
                port = _published(row)
            except ValueError as error:
                log.error("a published port cannot be read and is withdrawn (%s): restart its container", error)
            else:
                if row["port_id"] in self.known:
                    found[row["port_id"]] = (*found.get(row["port_id"], ()), port)
        if sum(map(len, found.values())) < len(published):
            # The others would be in somebody's way; what a container publishes stands in its own record.
            await self._db.run(lambda tx: _rewrite(tx, found))
        return found

    def _load(self, stored: sqlite3.Row) -> None:
        try:
            row, number = _row(stored)
            if number is not None and number in self._used:
                raise ValueError(f"the address {row.address} is taken")
        except ValueError as error:
            log.error("the network port %.100r cannot be read (%s): remove its container", stored["id"], error)
            if isinstance(stored["id"], str):
                self.damaged[stored["id"]] = str(error)
            return
        self.known[row.id] = row
        if number is not None:
            self._used.add(number)

    async def allocate(self, port_id: str, tenant: str, network: str) -> Row:
        """The row of *port_id*, made if it is new. Raises `Conflict` when the subnet is full, or the row damaged."""
        if not is_id(port_id):
            raise ValueError(f"not a port id: {port_id!r}")
        async with self._lock:
            if port_id in self.known:
                return self.known[port_id]
            self.refuse_damaged(port_id)
            address = self._free_address() if network == "bridge" else ""
            row = Row(port_id, tenant, network, mac_of(address, port_id), address)
            # Known before it is written: a caller that is cancelled meanwhile can still release it.
            self.known[port_id] = row
            if address:
                self._used.add(int(ipaddress.IPv4Address(address)))
            try:
                await self._db.note(
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
        values = _values(port_id, ports)

        def work(tx: Transaction) -> None:
            tx.execute("DELETE FROM network_published WHERE port_id = ?", (port_id,))
            tx.executemany(_PUBLISH, values)

        await self._db.note(work)

    async def release(self, port_ids: list[str]) -> None:
        each = [(port_id,) for port_id in port_ids]
        async with self._lock:
            await self._db.note(lambda tx: tx.executemany("DELETE FROM network_ports WHERE id = ?", each) and None)
            for port_id in port_ids:
                self._forget(port_id)

    def refuse_damaged(self, port_id: str) -> None:
        """Raises `Conflict`."""
        if (why := self.damaged.get(port_id)) is not None:
            raise Conflict(
                f"the network port {port_id[:12]} in the database cannot be read ({why})",
                "remove the container and create it again",
            )

    def _forget(self, port_id: str) -> None:
        self.damaged.pop(port_id, None)
        row = self.known.pop(port_id, None)
        if row is not None and row.address:
            self._used.discard(int(ipaddress.IPv4Address(row.address)))


def _values(port_id: str, ports: Iterable[PublishedPort]) -> list[tuple[str, str, str, int, int]]:
    return [(port_id, p.protocol, p.host_ip, p.host_port, p.container_port) for p in ports]


def _rewrite(tx: Transaction, published: Mapping[str, Iterable[PublishedPort]]) -> None:
    tx.execute("DELETE FROM network_published")
    for port_id, ports in published.items():
        tx.executemany(_PUBLISH, _values(port_id, ports))


def _row(stored: sqlite3.Row) -> tuple[Row, int | None]:
    """A port with its address as a number. Raises `ValueError` for what `allocate` has not written."""
    row = Row(**dict(stored))
    if not all(isinstance(value, str) for value in astuple(row)):
        raise ValueError("a column is no text")
    if not is_id(row.id):
        raise ValueError("it has no id")
    if row.network not in ("bridge", "none"):
        raise ValueError(f"there is no network {row.network[:50]!r}")
    if bool(row.address) is not (row.network == "bridge"):
        raise ValueError(f"{row.address[:50]!r} is no address on network {row.network}")
    number = int(ipaddress.IPv4Address(row.address)) if row.address else None
    if row.mac != mac_of(row.address, row.id):
        raise ValueError(f"{row.mac[:50]!r} is not its MAC")
    return row, number


def _published(stored: sqlite3.Row) -> PublishedPort:
    """Raises `ValueError`."""
    port = PublishedPort(stored["container_port"], stored["protocol"], stored["host_ip"], stored["host_port"])
    if port.protocol not in ("tcp", "udp"):
        raise ValueError(f"there is no protocol {port.protocol!r:.50}")
    if not all(type(number) is int and 0 < number < 65536 for number in (port.container_port, port.host_port)):
        raise ValueError("a port is no number between 1 and 65535")
    if not isinstance(port.host_ip, str):
        raise ValueError("the host's address is no text")
    ipaddress.IPv4Address(port.host_ip)
    return port
