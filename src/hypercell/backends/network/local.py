# SPDX-License-Identifier: Apache-2.0
"""The network of one machine: one bridge with one private subnet, NAT to the outside, published ports, DNS.

Ports live in the database, rules in nftables; whatever happens to the rules, `start` writes them anew from the
database. Taps belong to nobody but their hypervisor (see `links.open_tap`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from pathlib import Path

from hypercell.backends.network import links, ports, rules
from hypercell.backends.network.dns import Forwarder, upstreams
from hypercell.backends.network.host_ports import HostPorts
from hypercell.backends.network.nft import Nft
from hypercell.backends.network.ports import Ports
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import Conflict, Internal, InvalidArgument, NotFound
from hypercell.node.network import Port, PublishedPort, SpareTap

log = logging.getLogger(__name__)


async def open_network(config: Config, db: Database) -> LocalNetwork:
    """The network of this machine; `start` it before use. Raises `InvalidArgument` for a subnet that cannot be."""
    await db.migrate("network", Path(__file__).parent / "migrations")
    return LocalNetwork(config, db, Nft())


class LocalNetwork:
    def __init__(self, config: Config, db: Database, nft: Nft) -> None:
        self.bridge = config.bridge
        self.subnet = _subnet(config.subnet)
        self.gateway = str(self.subnet.network_address + 1)
        self._ports = Ports(db, self.subnet)
        self._nft = nft
        self._dns = Forwarder(self.gateway, upstreams(config.dns))
        self._published = HostPorts({})
        self._lock = asyncio.Lock()
        """One change of published ports at a time: a port is chosen, checked and taken as one step."""

    async def start(self) -> None:
        self._refuse_overlap()
        links.set_sysctl("net/ipv4/ip_forward", "1")
        links.ensure_bridge(self.bridge, self.gateway, str(self.subnet.netmask))
        # First, as only one daemon can: the rules are those of who serves the bridge.
        await self._serve_names()
        try:
            self._published = HostPorts(await self._ports.published())
            await self._write_rules()
        except BaseException:
            await self._dns.close()
            raise

    async def _serve_names(self) -> None:
        try:
            await self._dns.start()
        except OSError as error:
            raise Conflict(
                f"cannot serve names on {self.gateway}:53: {error.strerror}",
                f"another hypercelld has the bridge {self.bridge}: give this one a `bridge` and a `subnet` of its own; "
                "or something else listens on port 53 of every address: bind it to its own",
            ) from error

    def _refuse_overlap(self) -> None:
        for interface, network in _routes(Path("/proc/net/route")):
            if interface != self.bridge and network.prefixlen > 0 and network.overlaps(self.subnet):
                raise InvalidArgument(
                    f"the subnet {self.subnet} overlaps {network} on {interface}",
                    "set another `subnet` in the configuration file",
                )
            if interface == self.bridge and network != self.subnet:
                raise Conflict(
                    f"the bridge {self.bridge} has the subnet {network}, not {self.subnet}",
                    f"set another `bridge`, or remove this one once nothing uses it: ip link delete {self.bridge}",
                )

    async def allocate(self, port_id: str, tenant: str, network: str) -> Port:
        if network not in ("bridge", "none"):
            raise NotFound(f"network {network} not found", "there are `bridge` and `none`")
        row = await self._ports.allocate(port_id, tenant, network)
        return self._port(row)

    def _port(self, row: ports.Row) -> Port:
        if row.network == "none":
            return Port(row.id, "none", row.mac, "", "", (), links.MTU)
        address = f"{row.address}/{self.subnet.prefixlen}"
        published = self._published.of(row.id)
        return Port(row.id, "bridge", row.mac, address, self.gateway, (self.gateway,), links.MTU, published)

    async def open_tap(self, port_id: str) -> int:
        row = await self._row(port_id)
        if row.network == "none":
            return links.open_tap(rules.tap_name(self.bridge, port_id), None)
        await self._add(rules.admit(self.bridge, self._member(row)))
        return links.open_tap(rules.tap_name(self.bridge, port_id), self.bridge)

    async def spare_tap(self) -> SpareTap:
        name = rules.spare_name(self.bridge)
        return SpareTap(name, links.open_tap(name, None))

    async def give_tap(self, port_id: str, name: str) -> None:
        row = await self._row(port_id)
        if not rules.is_spare(self.bridge, name):
            raise InvalidArgument(f"{name[:50]!r} is no spare tap of {self.bridge}")
        own = rules.tap_name(self.bridge, port_id)
        if row.network == "bridge":
            await self._add(rules.admit(self.bridge, self._member(row)))
        with contextlib.suppress(NotFound):  # it was renamed before
            links.rename(name, own)
        if not links.exists(own):
            raise Conflict(f"the spare tap {name} is gone", "whoever held it has ended: use another one")
        if row.network == "bridge":
            links.rejoin(own, self.bridge)

    async def publish(self, port_id: str, wanted: tuple[PublishedPort, ...]) -> tuple[PublishedPort, ...]:
        row = await self._row(port_id)
        if row.network == "none" and wanted:
            raise InvalidArgument("a container on network none has no ports to publish")
        async with self._lock:
            await self._withdraw(row)
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

    async def _withdraw(self, row: ports.Row) -> None:
        if self._published.of(row.id):
            with contextlib.suppress(Internal):  # an element that somebody else removed
                await self._nft.run(rules.unpublish(self.bridge, self._member(row)))
            await self._ports.publish(row.id, ())
            self._published.give_back(row.id)

    async def release(self, *port_ids: str) -> None:
        known = [row for port_id in port_ids if (row := self._ports.known.get(port_id)) is not None]
        there = [port_id for port_id in port_ids if port_id in self._ports.known or port_id in self._ports.damaged]
        if not there:
            return
        async with self._lock:
            expelled = [rules.expel(self.bridge, self._member(row)) for row in known if row.network == "bridge"]
            with contextlib.suppress(Internal):  # somebody flushed the table: nothing to take out
                await self._nft.run("\n".join(expelled))
            for port_id in there:
                self._published.give_back(port_id)
            await self._ports.release(there)

    async def reconcile(self, port_ids: set[str]) -> None:
        known = {*self._ports.known, *self._ports.damaged}
        await self.release(*(known - port_ids))
        await self._write_rules()
        for row in self._ports.known.values():
            if row.network == "bridge":
                links.rejoin(rules.tap_name(self.bridge, row.id), self.bridge)

    async def describe(self, network: str) -> dict[str, str]:
        if network == "none":
            return {}
        return {
            "subnet": str(self.subnet),
            "gateway": self.gateway,
            "bridge": self.bridge,
            "mtu": str(links.MTU),
        }

    async def close(self) -> None:
        await self._dns.close()
        await self._nft.close()

    async def destroy(self) -> None:
        """Remove bridge and rules: nothing of this network is left. For tests and uninstalling."""
        await self._nft.run(rules.drop_tables(self.bridge))
        links.delete_bridge(self.bridge)

    async def _add(self, commands: str) -> None:
        """Apply *commands*. Where somebody has flushed our tables, write them anew: what is known is in them."""
        try:
            await self._nft.run(commands)
        except Internal:
            await self._write_rules()

    async def _write_rules(self) -> None:
        members = [self._member(row) for row in self._ports.known.values() if row.network == "bridge"]
        await self._nft.run(rules.rule_set(self.bridge, str(self.subnet), self.gateway, members))

    async def _row(self, port_id: str) -> ports.Row:
        row = self._ports.known.get(port_id)
        if row is None:
            self._ports.refuse_damaged(port_id)
            raise NotFound(f"no network port {port_id}")
        return row

    def _member(self, row: ports.Row) -> rules.Member:
        return rules.Member(row.id, row.mac, row.address, self._published.of(row.id))


def _subnet(text: str) -> ipaddress.IPv4Network:
    try:
        subnet = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise InvalidArgument(f"subnet {text!r}: {error}", "write it as 172.16.0.0/16") from error
    if not 8 <= subnet.prefixlen <= 29:
        raise InvalidArgument(f"subnet {text} must be between /8 and /29")
    return subnet


def _routes(table: Path) -> list[tuple[str, ipaddress.IPv4Network]]:
    """(interface, destination) of the machine's IPv4 routes; /proc/net/route, addresses little-endian hex."""
    found = []
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            words = line.split()
            packed = [int(words[column], 16).to_bytes(4, "little") for column in (1, 7)]
            prefix = int.from_bytes(packed[1], "big").bit_count()
            found.append((words[0], ipaddress.IPv4Network((packed[0], prefix), strict=False)))
    return found
