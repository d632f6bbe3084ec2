# SPDX-License-Identifier: Apache-2.0
"""The networks of one machine: a bridge with a private subnet each, NAT to the outside, published ports, DNS.

Networks and ports live in the database, rules in nftables; whatever happens to the rules, `start` writes them anew
from the database. Taps belong to nobody but their hypervisor (see `links.open_tap`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hypercell.backends.network import answers, links, rules
from hypercell.backends.network.dns import Forwarder, upstreams
from hypercell.backends.network.host_ports import HostPorts
from hypercell.backends.network.names import Entry, Names
from hypercell.backends.network.networks import Networks, subnet_of, taken_name
from hypercell.backends.network.nft import Nft
from hypercell.backends.network.places import Places
from hypercell.backends.network.pools import completed
from hypercell.backends.network.ports import Ports, Row, is_mac
from hypercell.backends.network.routes import routes
from hypercell.base.config import Config
from hypercell.base.crash import crash_point
from hypercell.base.db import Database
from hypercell.base.errors import Conflict, Forbidden, Internal, InvalidArgument, NotFound, Unsupported
from hypercell.base.ids import new_id
from hypercell.node.network import (
    BRIDGE,
    MOST_PLACES,
    NONE,
    NetworkRecord,
    NetworkSpec,
    Port,
    PublishedPort,
    SpareTap,
    Wish,
)

log = logging.getLogger(__name__)


async def open_network(config: Config, db: Database) -> LocalNetwork:
    """The network of this machine; `start` it before use. Raises `InvalidArgument` for a subnet that cannot be."""
    await db.migrate("network", Path(__file__).parent / "migrations")
    return LocalNetwork(config, db, Nft())


class LocalNetwork:
    def __init__(self, config: Config, db: Database, nft: Nft) -> None:
        self.bridge = config.bridge
        try:
            spec = completed(NetworkSpec("", "bridge", config.subnet), ())
        except InvalidArgument as error:
            raise InvalidArgument(f"subnet {config.subnet!r}: {error.message}", "write it as 172.16.0.0/16") from error
        default = NetworkRecord(BRIDGE, 0, spec, self.bridge)
        self.subnet, self.gateway = subnet_of(default), spec.gateway
        self._servers = upstreams(config.dns)
        self._networks: dict[str, NetworkRecord] = {
            BRIDGE: default,
            NONE: NetworkRecord(NONE, 0, NetworkSpec("", "none")),
        }
        self._store = Networks(db, self.bridge)
        self._ports = Ports(db)
        self._ports.add_network(default)
        self._places = Places(self.bridge, self.gateway, self._networks)
        self._nft = nft
        self._names = Names()
        self._called: dict[str, tuple[str, ...]] = {}
        """By port: the names that it was announced by."""
        self._dns: dict[str, Forwarder] = {}
        """By network: of the default one, and of internal ones."""
        self._published = HostPorts({})
        self._lock = asyncio.Lock()
        """One change of published ports at a time: a port is chosen, checked and taken as one step."""
        self._making = asyncio.Lock()
        """One network is made, or removed, at a time: its subnet is chosen, checked and taken as one step."""

    async def start(self) -> None:
        self._refuse_overlap()
        links.set_sysctl("net/ipv4/ip_forward", "1")
        try:
            await self._open(self._networks[BRIDGE])
            for record in await self._store.load():
                self._networks[record.id] = record
                self._ports.add_network(record)
            self._published = HostPorts(await self._ports.published())
            await self._write_rules()
            await self._open_all()
        except BaseException:
            await self._close_names()
            raise
        self._remove_strays()

    async def _open_all(self) -> None:
        """The networks of somebody's own. One that cannot be must not keep the daemon from the others."""
        for record in self._networks.values():
            if not record.built_in:
                try:
                    await self._open(record)
                except (Conflict, Internal) as error:
                    log.error("the network %s is not there: %s", record.spec.name, error)

    async def _open(self, record: NetworkRecord) -> None:
        """Make or repair its bridge. Names are served on the default one for all networks, as its address is there as
        long as the daemon is, and no container need be told another when it moves; on an internal one, from which
        nothing leads there, for itself. Raises `Conflict`, `Internal`."""
        spec = record.spec
        links.ensure_bridge(record.bridge, spec.gateway, str(subnet_of(record).netmask), spec.mtu)
        if record.id != BRIDGE and not spec.internal:
            return
        # First, as only one daemon can: the rules are those of who serves the bridge.
        forwarder = Forwarder(
            spec.gateway, () if spec.internal else self._servers, known=partial(answers.answer, self._names)
        )
        try:
            await forwarder.start()
        except OSError as error:
            raise Conflict(
                f"cannot serve names on {spec.gateway}:53: {error.strerror}",
                f"another hypercelld has the bridge {record.bridge}: give this one a `bridge` and a `subnet` of its "
                "own; or something else listens on port 53 of every address: bind it to its own",
            ) from error
        self._dns[record.id] = forwarder

    def _remove_strays(self) -> None:
        """Bridges of networks whose making, or removal, a daemon did not live to see the end of."""
        known = {record.bridge for record in self._networks.values()}
        known |= {rules.bridge_name(self.bridge, network) for network in self._store.damaged}
        for name in links.names():
            if rules.is_bridge_name(self.bridge, name) and name not in known:
                log.warning("removing the bridge %s, which is of no network", name)
                links.delete_bridge(name)

    def _remove_stray_routes(self) -> None:
        """Ways to visitors that a daemon did not live to see the end of."""
        known = {
            (visit.home, visit.address) for row in self._ports.known.values() for visit in self._places.visits(row)
        }
        own = {record.bridge for record in self._networks.values()}
        for interface, destination in routes():
            address = str(destination.network_address)
            if interface in own and destination.prefixlen == 32 and (interface, address) not in known:
                links.delete_route(address, interface)

    def _refuse_overlap(self) -> None:
        for interface, network in routes():
            if rules.is_bridge_name(self.bridge, interface):
                continue  # a way to a visitor that has its home there
            if interface != self.bridge and network.prefixlen > 0 and network.overlaps(self.subnet):
                raise InvalidArgument(
                    f"the subnet {self.subnet} overlaps {network} on {interface}",
                    "set another `subnet` in the configuration file",
                )
            if interface == self.bridge and network != self.subnet and network.prefixlen < 32:
                raise Conflict(
                    f"the bridge {self.bridge} has the subnet {network}, not {self.subnet}",
                    f"set another `bridge`, or remove this one once nothing uses it: ip link delete {self.bridge}",
                )

    # Networks

    @property
    def networks(self) -> Mapping[str, NetworkRecord]:
        return self._networks

    async def create_network(self, spec: NetworkSpec) -> NetworkRecord:
        async with self._making:
            if any(record.spec.name == spec.name and record.spec.tenant == spec.tenant for record in self._made()):
                raise taken_name(spec.name)
            if not 68 <= spec.mtu <= links.MTU:
                raise InvalidArgument(f"invalid MTU {spec.mtu}", f"choose one between 68 and {links.MTU}")
            taken = [subnet_of(record) for record in self._networks.values() if record.id != NONE]
            taken += [network for _, network in routes() if network.prefixlen > 0]
            # Whoever was on it could answer for them, to everybody.
            taken += [ipaddress.IPv4Network(server) for server in self._servers if ":" not in server]
            record = self._store.record(new_id(), time.time_ns(), completed(spec, taken))
            try:
                await self._make(record)
            except BaseException:
                await asyncio.shield(self._unmake(record))
                raise
            self._ports.add_network(record)
            self._networks[record.id] = record
            return record

    def _made(self) -> list[NetworkRecord]:
        return [record for record in self._networks.values() if not record.built_in]

    async def _make(self, record: NetworkRecord) -> None:
        """Its row comes last: what a daemon leaves that dies before is a stray, which its successor removes."""
        crash_point("network-begin")
        await self._nft.run(rules.admit_segment(self.bridge, _segment(record)))
        crash_point("network-admitted")
        await self._open(record)
        crash_point("network-opened")
        await self._store.insert(record)
        crash_point("network-recorded")

    async def _unmake(self, record: NetworkRecord) -> None:
        if (forwarder := self._dns.pop(record.id, None)) is not None:
            await forwarder.close()
        links.delete_bridge(record.bridge)
        with contextlib.suppress(Internal):  # somebody flushed the table: nothing to take out
            await self._nft.run(rules.expel_segment(self.bridge, _segment(record)))

    async def remove_network(self, network: str) -> None:
        async with self._making:
            record = self._networks.get(network)
            if record is None:
                return
            if record.built_in:
                raise Forbidden(f"{record.spec.name} is a pre-defined network and cannot be removed")
            if users := self._ports.on(network):
                shown = ", ".join(row.id[:12] for row in users[:10])
                raise Forbidden(
                    f"error while removing network: network {record.spec.name} has active endpoints ({shown})",
                    "disconnect or remove these containers first",
                )
            # From here on nobody gets onto it.
            del self._networks[network]
            self._ports.remove_network(network)
            crash_point("network-remove")
            try:
                await self._store.delete(network)
            except BaseException:
                self._networks[network] = record
                self._ports.add_network(record)
                raise
            crash_point("network-deleted")
            await asyncio.shield(self._unmake(record))

    # Ports

    async def allocate(self, port_id: str, tenant: str, wishes: tuple[Wish, ...]) -> Port:
        for number, wish in enumerate(wishes):
            self._check(wish, tenant, wishes[:number])
        home = self._places.home_of(wishes)
        if any(wish.mac and wish is not home and wish.network != NONE for wish in wishes):
            raise _one_card()
        return self._port(await self._ports.allocate(port_id, tenant, wishes))

    def _check(self, wish: Wish, tenant: str, before: tuple[Wish, ...]) -> None:
        """Of one more than those *before*."""
        record = self._networks.get(wish.network)
        if record is None or (not record.built_in and record.spec.tenant != tenant):
            raise NotFound(f"network {wish.network} not found", "hypercell network ls shows those that there are")
        if wish.mac and not is_mac(wish.mac):
            raise InvalidArgument(f"invalid MAC address: {wish.mac[:50]}", "such as 02:42:ac:11:00:02")
        if any(known.network == wish.network for known in before):
            raise Forbidden(f"endpoint already exists in network {record.spec.name}")
        if len(before) >= MOST_PLACES:
            raise InvalidArgument(f"a container can be on {MOST_PLACES} networks", "disconnect it from another first")

    def port(self, port_id: str) -> Port:
        return self._port(self._ports.row(port_id))

    def _port(self, row: Row) -> Port:
        return self._places.port(row, self._published.of(row.id))

    def _member(self, row: Row) -> rules.Member:
        return self._places.member(row, self._published.of(row.id))

    async def connect(self, port_id: str, wish: Wish) -> Port:
        async with self._lock:
            before = self._ports.row(port_id)
            earlier = tuple(seat.wish for seat in before.seats)
            self._check(wish, before.tenant, earlier)
            if wish.mac and self._places.home_of((*earlier, wish)) is not wish:
                raise _one_card()
            after = await self._ports.sit(port_id, wish)
            crash_point("connect-recorded")
            await self._move(before, after)
            return self._port(after)

    async def disconnect(self, port_id: str, network: str) -> Port:
        async with self._lock:
            before = self._ports.row(port_id)
            seat = next((seat for seat in before.seats if seat.network == network), None)
            if seat is None:
                raise NotFound(f"container {port_id[:12]} is not connected to the network {network[:64]}")
            if seat == self._places.home(before):
                await self._withdraw(before)
            after = await self._ports.rise(port_id, network)
            crash_point("disconnect-recorded")
            await self._move(before, after)
            self._ports.vacate(seat)
            return self._port(after)

    async def _move(self, before: Row, after: Row) -> None:
        """Links, rules and names are from now on those of the places that it has *after*."""
        self._call(after)
        self._places.part(before, after)
        await self._add(rules.change(self.bridge, self._member(before), self._member(after)))
        self._places.join(after)

    def announce(self, port_id: str, names: tuple[str, ...]) -> None:
        if names:
            self._called[port_id] = names
        else:
            self._called.pop(port_id, None)
        if (row := self._ports.known.get(port_id)) is not None:
            self._call(row)

    def _call(self, row: Row) -> None:
        """Let its neighbours know it by its names. On the default network nobody has any, as in docker's,
        but from its address there it asks for those of its other networks."""
        names = self._called.get(row.id)
        if names is None:
            self._names.forget(row.id)
            return
        self._names.set(
            row.id,
            [
                Entry(seat.network, spec.name, seat.address, called, spec.internal)
                for seat in row.seats
                if seat.network != NONE
                for spec in (self._networks[seat.network].spec,)
                for called in (() if seat.network == BRIDGE else (*names, *seat.wish.aliases),)
            ],
        )

    async def open_tap(self, port_id: str) -> int:
        row = self._ports.row(port_id)
        await self._add(rules.admit(self.bridge, self._member(row)))
        tap = links.open_tap(rules.tap_name(self.bridge, port_id))
        try:
            self._places.join(row)
        except BaseException:
            os.close(tap)
            raise
        return tap

    async def spare_tap(self) -> SpareTap:
        name = rules.spare_name(self.bridge)
        return SpareTap(name, links.open_tap(name))

    async def give_tap(self, port_id: str, name: str) -> None:
        row = self._ports.row(port_id)
        if not rules.is_spare(self.bridge, name):
            raise InvalidArgument(f"{name[:50]!r} is no spare tap of {self.bridge}")
        own = rules.tap_name(self.bridge, port_id)
        await self._add(rules.admit(self.bridge, self._member(row)))
        with contextlib.suppress(NotFound):  # it was renamed before
            links.rename(name, own)
        if not links.exists(own):
            raise Conflict(f"the spare tap {name} is gone", "whoever held it has ended: use another one")
        self._places.join(row)

    # Published ports

    async def publish(self, port_id: str, wanted: tuple[PublishedPort, ...]) -> tuple[PublishedPort, ...]:
        row = self._ports.row(port_id)
        if any(seat.network == NONE for seat in row.seats) and wanted:
            raise InvalidArgument("a container on network none has no ports to publish")
        async with self._lock:
            row = self._ports.row(port_id)
            await self._withdraw(row)
            main = self._port(row).main
            if main is None or not main.gateway:  # nothing leads into it, as in docker's internal networks
                return ()
            # Known before it is written: a caller that is cancelled meanwhile can still withdraw it.
            published = self._published.take(port_id, wanted)
            if published:
                await self._ports.publish(port_id, published)
                await self._add(rules.publish(self.bridge, self._member(row)))
        return published

    async def unpublish(self, port_id: str) -> None:
        row = self._ports.known.get(port_id)
        if row is not None:
            async with self._lock:
                await self._withdraw(row)

    async def _withdraw(self, row: Row) -> None:
        if self._published.of(row.id):
            with contextlib.suppress(Internal):  # an element that somebody else removed
                await self._nft.run(rules.unpublish(self.bridge, self._member(row)))
            await self._ports.publish(row.id, ())
            self._published.give_back(row.id)

    # The end

    async def release(self, *port_ids: str) -> None:
        there = [port_id for port_id in port_ids if port_id in self._ports.known or port_id in self._ports.damaged]
        if not there:
            return
        async with self._lock:
            known = [row for port_id in there if (row := self._ports.known.get(port_id)) is not None]
            with contextlib.suppress(Internal):  # somebody flushed the table: nothing to take out
                await self._nft.run("\n".join(rules.expel(self.bridge, self._member(row)) for row in known))
            for row in known:
                self._places.part(row)
            for port_id in there:
                self._published.give_back(port_id)
                self._called.pop(port_id, None)
                self._names.forget(port_id)
            await self._ports.release(there)

    async def reconcile(self, port_ids: set[str]) -> None:
        known = {*self._ports.known, *self._ports.damaged}
        await self.release(*(known - port_ids))
        await self._write_rules()
        self._remove_stray_routes()
        for row in self._ports.known.values():
            self._places.join(row)

    async def close(self) -> None:
        await self._close_names()
        await self._nft.close()

    async def _close_names(self) -> None:
        for forwarder in self._dns.values():
            await forwarder.close()
        self._dns.clear()

    async def destroy(self) -> None:
        """Remove bridges and rules: nothing of these networks is left. For tests and uninstalling."""
        await self._nft.run(rules.drop_tables(self.bridge))
        for name in links.names():
            if name == self.bridge or rules.is_bridge_name(self.bridge, name):
                links.delete_bridge(name)

    async def _add(self, commands: str) -> None:
        """Apply *commands*. Where somebody has flushed our tables, write them anew: what is known is in them."""
        try:
            if commands:
                await self._nft.run(commands)
        except Internal:
            await self._write_rules()

    async def _write_rules(self) -> None:
        segments = [_segment(record) for record in self._networks.values() if record.id != NONE]
        members = [self._member(row) for row in self._ports.known.values()]
        await self._nft.run(rules.rule_set(self.bridge, self.gateway, segments, members))


def _segment(record: NetworkRecord) -> rules.Segment:
    spec = record.spec
    return rules.Segment(record.bridge, spec.subnet, spec.gateway, spec.internal, spec.masquerade)


def _one_card() -> Unsupported:
    return Unsupported(
        "a MAC address can be chosen on one of a container's networks: it has one card",
        "choose it on the first that is not internal",
    )
