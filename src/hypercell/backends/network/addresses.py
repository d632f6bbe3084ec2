# SPDX-License-Identifier: Apache-2.0
"""Who has which address and which MAC on one network."""

from __future__ import annotations

import ipaddress

from hypercell.base.errors import Conflict, Forbidden, InvalidArgument
from hypercell.node.network import NetworkSpec


class Addresses:
    def __init__(self, spec: NetworkSpec) -> None:
        self.subnet = ipaddress.IPv4Network(spec.subnet)
        first, last = int(self.subnet.network_address) + 1, int(self.subnet.broadcast_address) - 1
        chosen_from = ipaddress.IPv4Network(spec.ip_range) if spec.ip_range else self.subnet
        low = max(first, int(chosen_from.network_address))
        self._all = range(first, last + 1)
        self._range = range(low, min(last, int(chosen_from.broadcast_address)) + 1)
        self._reserved = {int(ipaddress.IPv4Address(text)) for text in (spec.gateway, *spec.reserved)}
        self._used: set[int] = set()
        self._macs: set[str] = set()
        self._next = 0

    def __bool__(self) -> bool:
        """Whether anybody has one."""
        return bool(self._used)

    def choose(self) -> str:
        """One that is free. Raises `Conflict`."""
        # Round and round, so that an address just given back is not given out again at once (ARP caches).
        for step in range(len(self._range)):
            candidate = self._range[(self._next + step) % len(self._range)]
            if candidate not in self._used and candidate not in self._reserved:
                self._next = (self._next + step + 1) % len(self._range)
                return str(ipaddress.IPv4Address(candidate))
        raise Conflict(f"the subnet {self.subnet} is full", "remove containers, or use a network with a larger subnet")

    def take(self, address: str, mac: str) -> None:
        """Raises `InvalidArgument`, `Forbidden`: they are taken then by somebody else, or nobody's to take."""
        number = int(ipaddress.IPv4Address(address))
        if number not in self._all:
            raise InvalidArgument(
                f"no configured subnet or ip-range contain the IP address {address}", f"choose one of {self.subnet}"
            )
        if number in self._used or number in self._reserved:
            raise Forbidden(f"Address already in use: {address}", "choose another one, or none")
        if mac in self._macs:
            raise Forbidden(f"MAC address already in use: {mac}", "choose another one, or none")
        self._used.add(number)
        self._macs.add(mac)

    def give_back(self, address: str, mac: str) -> None:
        self._used.discard(int(ipaddress.IPv4Address(address)))
        self._macs.discard(mac)
