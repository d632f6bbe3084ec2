# SPDX-License-Identifier: Apache-2.0
"""Which names mean which addresses, on each network: of the containers that run, and of no others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_MOST = 24
"""Addresses in an answer: what fits into a datagram of 512 bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A port on a network."""

    network: str
    network_name: str
    address: str
    names: tuple[str, ...]
    """The first is what its address is called. None: it is found there by no name, but asks from there."""
    internal: bool = False
    """Nothing leads out of the network."""


class Names:
    def __init__(self) -> None:
        self._entries: dict[str, tuple[Entry, ...]] = {}
        """By port."""
        self._by_name: dict[tuple[str, str], dict[str, str]] = {}
        """Network and name -> addresses, by port."""
        self._by_address: dict[str, tuple[str, Entry]] = {}
        """Address -> port: no two networks have the same."""
        self._turn = 0

    def set(self, port: str, entries: Iterable[Entry]) -> None:
        """All that *port* is called from now on."""
        self._forget(port)
        kept = self._entries[port] = tuple(entries)
        for entry in kept:
            self._by_address[entry.address] = (port, entry)
            for name in entry.names:
                self._by_name.setdefault((entry.network, name.lower()), {})[port] = entry.address

    def forget(self, port: str) -> None:
        self._forget(port)

    def _forget(self, port: str) -> None:
        for entry in self._entries.pop(port, ()):
            if self._by_address.get(entry.address, ("",))[0] == port:
                del self._by_address[entry.address]
            for name in entry.names:
                key = (entry.network, name.lower())
                if (found := self._by_name.get(key)) is not None:
                    found.pop(port, None)
                    if not found:
                        del self._by_name[key]

    def places(self, address: str) -> tuple[Entry, ...]:
        """Of who asks: whoever has this address. Nobody can send from another's."""
        port, _ = self._by_address.get(address, ("", None))
        return self._entries.get(port, ())

    def addresses(self, places: Iterable[Entry], name: str) -> list[str]:
        """What *name* means to who has these places. Of several addresses, each is first in its turn."""
        found = self._find(places, name.lower())
        self._turn += 1
        first = self._turn % len(found) if found else 0
        return [*found[first:], *found[:first]][:_MOST]

    def known(self, places: Iterable[Entry], name: str) -> bool:
        return bool(self._find(places, name.lower()))

    def _find(self, places: Iterable[Entry], name: str) -> list[str]:
        """On the first network that knows it, as it is or as `name.network`."""
        for place in places:
            found = self._by_name.get((place.network, name))
            if found is None and name.endswith(suffix := f".{place.network_name.lower()}"):
                found = self._by_name.get((place.network, name.removesuffix(suffix)))
            if found:
                return list(found.values())
        return []

    def name(self, places: Iterable[Entry], address: str) -> str:
        """What an address is called by who has these places; empty: nothing."""
        _, entry = self._by_address.get(address, ("", None))
        if entry is None or not entry.names or entry.network not in {place.network for place in places}:
            return ""
        return f"{entry.names[0]}.{entry.network_name}"
