# SPDX-License-Identifier: Apache-2.0
"""What the node asks of a network; `backends/network` implements it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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
class Port:
    """A container's place on a network. Kept from creation to removal of the container: stop and start keep it."""

    id: str
    network: str
    """`bridge` or `none`."""
    mac: str
    address: str
    """IPv4 with prefix length, `172.16.0.2/16`; empty for `none`."""
    gateway: str
    name_servers: tuple[str, ...]
    mtu: int
    published: tuple[PublishedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class SpareTap:
    """A tap that was made ahead, for a VM that has no container yet. Down, joined to nothing, and not persistent: it
    ends with the last copy of its descriptor."""

    name: str
    descriptor: int
    """The caller's, to close."""


class Network(Protocol):
    """One machine's network. Every method is idempotent; errors are `InvalidArgument`, `Conflict` (a host port is
    taken, the subnet is full), `Unsupported`, `Internal`."""

    async def start(self) -> None:
        """Make or repair bridge, rules and DNS."""

    async def allocate(self, port_id: str, tenant: str, network: str) -> Port:
        """Reserve MAC and address. Survives restarts of the daemon."""

    async def open_tap(self, port_id: str) -> int:
        """Make the tap, joined to its bridge (no bridge for `none`) with spoofing refused, and return its descriptor.
        The tap lives as long as somebody holds the descriptor (it is not persistent)."""

    async def spare_tap(self) -> SpareTap:
        """Make a tap that is nobody's, of the same kind as `open_tap` does."""

    async def give_tap(self, port_id: str, name: str) -> None:
        """The spare tap *name* is from now on the tap of the port: renamed and, unless its network is `none`, joined to
        the bridge, with spoofing refused before. To repeat it is no error.

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

    async def describe(self, network: str) -> dict[str, str]:
        """`subnet`, `gateway`, `bridge`, `mtu` …; for `network inspect`."""

    async def close(self) -> None:
        """Stop serving DNS; leave bridge, taps and rules as they are (containers go on)."""
