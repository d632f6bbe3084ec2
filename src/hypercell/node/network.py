# SPDX-License-Identifier: Apache-2.0
"""What the node and the cloud ask of this machine's networks; `backends/network` implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

BRIDGE, NONE = (sha256(f"hypercell network {name}".encode()).hexdigest() for name in ("bridge", "none"))
"""The ids of the networks that are always there: fixed, so that every daemon and every start gives the same."""
MOST_PLACES = 16
"""Networks that one container can be on."""


@dataclass(frozen=True, slots=True)
class PublishedPort:
    container_port: int
    protocol: str
    """`tcp` or `udp`."""
    host_ip: str
    """An IPv4 address of the host, or `0.0.0.0`."""
    host_port: int
    """0 in a request: choose one. Never 0 in an answer."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network is made of. In a request an empty subnet or gateway means: choose one."""

    tenant: str
    name: str
    subnet: str = ""
    """IPv4 with prefix length, `172.17.0.0/16`."""
    gateway: str = ""
    """The host's address on it; names are served there."""
    ip_range: str = ""
    """The part of the subnet that addresses are chosen from; empty: all of it."""
    reserved: tuple[str, ...] = ()
    """Addresses that no container is given."""
    internal: bool = False
    """Nothing leads out of it, nor into it."""
    masquerade: bool = True
    """Who is spoken to outside sees the host's address."""
    mtu: int = 1500
    door: Mapping[str, Any] = field(default_factory=dict)
    """What a door wants back verbatim when it shows the network (labels, options); nobody else reads it."""


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    id: str
    created_ns: int
    spec: NetworkSpec
    """Whole: with its subnet and its gateway."""
    bridge: str = ""
    """The host's interface; empty for `none`."""

    @property
    def built_in(self) -> bool:
        return self.id in (BRIDGE, NONE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a container asks of one network."""

    network: str
    """Its id."""
    aliases: tuple[str, ...] = ()
    """Names that the network's other containers find it by, besides its own."""
    address: str = ""
    """IPv4; empty: any that is free."""
    mac: str = ""
    """Empty: one that goes with the address."""


@dataclass(frozen=True, slots=True)
class Place:
    """A port's place on one network."""

    wish: Wish
    name: str
    """The network's."""
    mac: str
    """The card's: the same on all networks."""
    address: str
    """IPv4 with prefix length, `172.16.0.2/16`; empty on `none`."""
    gateway: str
    """Empty where nothing leads out."""
    mtu: int

    @property
    def network(self) -> str:
        return self.wish.network


@dataclass(frozen=True, slots=True)
class Port:
    """A VM's only card. Kept from creation to removal of the container: stop and start keep it, and its places."""

    id: str
    places: tuple[Place, ...]
    """In the order in which it came to them. The first that has a gateway is where all leads that leaves its
    networks, and where its published ports lead to."""
    name_servers: tuple[str, ...]
    published: tuple[PublishedPort, ...] = ()

    @property
    def main(self) -> Place | None:
        """The place that leads out; if none does, the first."""
        return next((place for place in self.places if place.gateway), self.places[0] if self.places else None)

    def on(self, network: str) -> Place | None:
        return next((place for place in self.places if place.network == network), None)


@dataclass(frozen=True, slots=True)
class SpareTap:
    """A tap that was made ahead, for a VM that has no container yet. Down, joined to nothing, and not persistent: it
    ends with the last copy of its descriptor."""

    name: str
    descriptor: int
    """The caller's, to close."""


class Network(Protocol):
    """One machine's networks. Every method is idempotent; errors are `InvalidArgument`, `Conflict` (a host port is
    taken, the subnet is full), `Forbidden`, `NotFound`, `Unsupported`, `Internal`."""

    async def start(self) -> None:
        """Make or repair bridges, rules and DNS."""

    # Networks

    @property
    def networks(self) -> Mapping[str, NetworkRecord]:
        """By id, the built-in ones first."""

    async def create_network(self, spec: NetworkSpec) -> NetworkRecord:
        """Raises `Conflict` when the tenant has one of that name, `Forbidden` when its subnet overlaps another's."""

    async def remove_network(self, network: str) -> None:
        """Raises `Forbidden` while a port has a place on it."""

    # Ports

    async def allocate(self, port_id: str, tenant: str, wishes: tuple[Wish, ...]) -> Port:
        """Reserve a place on each network; of a port that is known already, those that it has. Survives restarts of
        the daemon."""

    def port(self, port_id: str) -> Port:
        """As it is now. Raises `NotFound`, `Conflict` for one that cannot be read."""

    async def connect(self, port_id: str, wish: Wish) -> Port:
        """One place more, at once if it has a tap. Raises `Forbidden` when it has a place there."""

    async def disconnect(self, port_id: str, network: str) -> Port:
        """One place less. Raises `NotFound` when it has none there."""

    def announce(self, port_id: str, names: tuple[str, ...]) -> None:
        """From now on the others on its networks find it by these names, besides its aliases; by none of those of
        before. Without names: by nothing at all."""

    async def open_tap(self, port_id: str) -> int:
        """Make the tap, joined to the bridges of its places with spoofing refused, and return its descriptor.
        The tap lives as long as somebody holds the descriptor (it is not persistent)."""

    async def spare_tap(self) -> SpareTap:
        """Make a tap that is nobody's, of the same kind as `open_tap` does."""

    async def give_tap(self, port_id: str, name: str) -> None:
        """The spare tap *name* is from now on the tap of the port: renamed and joined to the bridges of its places,
        with spoofing refused before. To repeat it is no error.

        Raises `InvalidArgument` for the name of anything but a spare tap of this network, `Conflict` when there is no
        such tap any more, and what `open_tap` raises."""

    async def publish(self, port_id: str, ports: tuple[PublishedPort, ...]) -> tuple[PublishedPort, ...]:
        """Forward host ports to it (container start); replaces what was published before."""

    async def unpublish(self, port_id: str) -> None:
        """Stop forwarding (container stop)."""

    async def release(self, *port_ids: str) -> None:
        """Give everything back (container removal), of many at once. Addresses are given out anew from then on: the
        taps are gone."""

    async def reconcile(self, port_ids: set[str]) -> None:
        """Release all that belongs to none of *port_ids*, and restore what is missing for the others."""

    async def close(self) -> None:
        """Stop serving DNS; leave bridges, taps and rules as they are (containers go on)."""
