# SPDX-License-Identifier: Apache-2.0
"""Which port has which places: kept in the database, and in memory for the hot path."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hypercell.backends.network.addresses import Addresses
from hypercell.base.db import Database, Transaction
from hypercell.base.errors import Conflict, HypercellError, NotFound
from hypercell.base.ids import is_id
from hypercell.base.typed import build, text
from hypercell.node.network import NONE, NetworkRecord, PublishedPort, Wish

log = logging.getLogger(__name__)

_PUBLISH = (
    "INSERT INTO network_published (port_id, protocol, host_ip, host_port, container_port) VALUES (?, ?, ?, ?, ?)"
)
_SIT = "INSERT INTO network_places (port_id, number, network, mac, address, wish) VALUES (?, ?, ?, ?, ?, ?)"
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Seat:
    """A port's place on one network, as it is written down."""

    wish: Wish
    mac: str
    address: str
    """Without prefix length; empty on network `none`."""

    @property
    def network(self) -> str:
        return self.wish.network


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    tenant: str
    seats: tuple[Seat, ...]


def mac_of(address: str, port_id: str) -> str:
    """A locally administered MAC: of the address, which is unique on the bridge, or of the id where there is none."""
    tail = ipaddress.IPv4Address(address).packed if address else bytes.fromhex(port_id[:8])
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + tail)


def is_mac(text: str) -> bool:
    """Whether it is one card's: lower-case hex, and no group address."""
    return _MAC.fullmatch(text) is not None and text != "00:00:00:00:00:00"


class Ports:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._addresses: dict[str, Addresses] = {}
        """By network."""
        self._lock = asyncio.Lock()
        self.known: dict[str, Row] = {}
        self.damaged: dict[str, str] = {}
        """Ports whose rows cannot be read, and why: nobody can be on a network with them, until they are released."""

    # Networks

    def add_network(self, record: NetworkRecord) -> None:
        self._addresses[record.id] = Addresses(record.spec)

    def remove_network(self, network: str) -> None:
        """From now on there are no places on it."""
        self._addresses.pop(network, None)

    def on(self, network: str) -> list[Row]:
        """The ports that have a place there."""
        if network in self._addresses and not self._addresses[network]:
            return []
        return [row for row in self.known.values() if any(seat.network == network for seat in row.seats)]

    # Ports

    async def published(self) -> dict[str, tuple[PublishedPort, ...]]:
        """Read everything from the database; the published ports by port id. What cannot be read is left out."""

        def work(tx: Transaction) -> tuple[list[sqlite3.Row], list[sqlite3.Row], list[sqlite3.Row]]:
            rows = tx.execute("SELECT id, tenant FROM network_ports").fetchall()
            seats = tx.execute("SELECT * FROM network_places ORDER BY number").fetchall()
            return rows, seats, tx.execute("SELECT * FROM network_published ORDER BY container_port").fetchall()

        rows, seats, published = await self._db.run(work)
        of_port: dict[object, list[sqlite3.Row]] = {}
        for seat in seats:
            of_port.setdefault(seat["port_id"], []).append(seat)
        for row in rows:
            self._load(row, of_port.get(row["id"], []))
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

    def _load(self, stored: sqlite3.Row, seats: list[sqlite3.Row]) -> None:
        taken: list[Seat] = []
        try:
            ident, tenant = _port(stored)
            for each in seats:
                seat = _seat(each)
                self._take(seat)
                taken.append(seat)
        except (ValueError, HypercellError) as error:
            self._give_back(taken)
            log.error("the network port %.100r cannot be read (%s): remove its container", stored["id"], error)
            if isinstance(stored["id"], str):
                self.damaged[stored["id"]] = str(error)
            return
        self.known[ident] = Row(ident, tenant, tuple(taken))

    async def allocate(self, port_id: str, tenant: str, wishes: Iterable[Wish]) -> Row:
        """The row of *port_id*, made if it is new.

        Raises `NotFound` for a network that there is not, `Conflict` when a subnet is full, or the row damaged, and
        what `Addresses.take` raises.
        """
        if not is_id(port_id):
            raise ValueError(f"not a port id: {port_id!r}")
        async with self._lock:
            if port_id in self.known:
                return self.known[port_id]
            self.refuse_damaged(port_id)
            # Known before it is written: a caller that is cancelled meanwhile can still release it.
            row = self.known[port_id] = Row(port_id, tenant, self._seats(port_id, wishes))
            try:
                await self._db.note(lambda tx: _insert(tx, row))
            except Exception:
                self._forget(port_id)
                raise
            return row

    def _seats(self, port_id: str, wishes: Iterable[Wish]) -> tuple[Seat, ...]:
        """All of them, or none."""
        taken: list[Seat] = []
        try:
            taken.extend(self._sit(port_id, wish) for wish in wishes)
        except BaseException:
            self._give_back(taken)
            raise
        return tuple(taken)

    def _sit(self, port_id: str, wish: Wish) -> Seat:
        if wish.network == NONE:
            return Seat(wish, mac_of("", port_id), "")
        if wish.network not in self._addresses:
            raise NotFound(f"network {wish.network} not found")
        address = wish.address or self._addresses[wish.network].choose()
        seat = Seat(wish, wish.mac or mac_of(address, port_id), address)
        self._take(seat)
        return seat

    def _take(self, seat: Seat) -> None:
        if seat.network != NONE:
            if seat.network not in self._addresses:
                raise NotFound(f"there is no network {seat.network[:50]!r}")
            self._addresses[seat.network].take(seat.address, seat.mac)

    def _give_back(self, seats: Iterable[Seat]) -> None:
        for seat in seats:
            if seat.address and seat.network in self._addresses:
                self._addresses[seat.network].give_back(seat.address, seat.mac)

    async def sit(self, port_id: str, wish: Wish) -> Row:
        """A place more. Raises what `allocate` raises."""
        async with self._lock:
            row, seat = self.row(port_id), self._sit(port_id, wish)
            self.known[port_id] = new = Row(row.id, row.tenant, (*row.seats, seat))
            try:
                await self._db.note(lambda tx: _append(tx, port_id, seat))
            except BaseException:
                self.known[port_id] = row
                self._give_back([seat])
                raise
            return new

    async def rise(self, port_id: str, network: str) -> Row:
        """A place less; its address is given out again when `vacate` was called."""
        query = "DELETE FROM network_places WHERE port_id = ? AND network = ?"
        async with self._lock:
            row = self.row(port_id)
            await self._db.note(lambda tx: tx.execute(query, (port_id, network)) and None)
            seats = tuple(seat for seat in row.seats if seat.network != network)
            self.known[port_id] = new = Row(row.id, row.tenant, seats)
            return new

    def vacate(self, seat: Seat) -> None:
        """Nobody can send from it any more."""
        self._give_back([seat])

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

    def row(self, port_id: str) -> Row:
        """Raises `NotFound`, `Conflict` for one that is damaged."""
        row = self.known.get(port_id)
        if row is None:
            self.refuse_damaged(port_id)
            raise NotFound(f"no network port {port_id}")
        return row

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
        if row is not None:
            self._give_back(row.seats)


def _insert(tx: Transaction, row: Row) -> None:
    tx.execute("INSERT INTO network_ports (id, tenant) VALUES (?, ?)", (row.id, row.tenant))
    tx.executemany(_SIT, [_seat_values(row.id, number, seat) for number, seat in enumerate(row.seats)])


def _append(tx: Transaction, port_id: str, seat: Seat) -> None:
    query = "SELECT coalesce(max(number), -1) + 1 FROM network_places WHERE port_id = ?"
    (number,) = tx.execute(query, (port_id,)).fetchone()
    tx.execute(_SIT, _seat_values(port_id, number, seat))


def _seat_values(port_id: str, number: int, seat: Seat) -> tuple[object, ...]:
    return (port_id, number, seat.network, seat.mac, seat.address, text(seat.wish))


def _values(port_id: str, ports: Iterable[PublishedPort]) -> list[tuple[str, str, str, int, int]]:
    return [(port_id, p.protocol, p.host_ip, p.host_port, p.container_port) for p in ports]


def _rewrite(tx: Transaction, published: Mapping[str, Iterable[PublishedPort]]) -> None:
    tx.execute("DELETE FROM network_published")
    for port_id, ports in published.items():
        tx.executemany(_PUBLISH, _values(port_id, ports))


def _port(stored: sqlite3.Row) -> tuple[str, str]:
    """Id and tenant. Raises `ValueError` for what `allocate` has not written."""
    ident, tenant = stored["id"], stored["tenant"]
    if not isinstance(ident, str) or not isinstance(tenant, str):
        raise ValueError("a column is no text")
    if not is_id(ident):
        raise ValueError("it has no id")
    return ident, tenant


def _seat(stored: sqlite3.Row) -> Seat:
    """Raises `ValueError`."""
    network, mac, address = stored["network"], stored["mac"], stored["address"]
    if not all(isinstance(value, str) for value in (network, mac, address)):
        raise ValueError("a column is no text")
    wish = build(Wish, json.loads(stored["wish"]))
    if wish.network != network:
        raise ValueError(f"{network[:50]!r} is not the network that was asked for")
    if bool(address) is (network == NONE):
        raise ValueError(f"{address[:50]!r} is no address on network {network[:50]!r}")
    if address:
        ipaddress.IPv4Address(address)
    if not is_mac(mac):
        raise ValueError(f"{mac[:50]!r} is no MAC")
    return Seat(wish, mac, address)


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
