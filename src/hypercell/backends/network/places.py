# SPDX-License-Identifier: Apache-2.0
"""What a port's row means: its places as the node sees them, and what bridges and rules have to be told of it.

A port has one card, which is on one bridge: its home. On its other networks it is a visitor. The guest has its address
there as well, neighbours are told that the host is where it lives (proxy ARP), and the host passes packets from and to
that address, and no other, from bridge to bridge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hypercell.backends.network import links, rules
from hypercell.backends.network.ports import Row, Seat
from hypercell.node.network import NONE, NetworkRecord, Place, Port, PublishedPort, Wish


class Places:
    def __init__(self, bridge: str, resolver: str, networks: Mapping[str, NetworkRecord]) -> None:
        """*bridge*: the daemon's own; *resolver*: where names are asked for; *networks*: by id, as they are now."""
        self._bridge = bridge
        self._resolver = resolver
        self._networks = networks

    def tap(self, row: Row) -> str:
        return rules.tap_name(self._bridge, row.id)

    def home(self, row: Row) -> Seat | None:
        """Where its card is: where it is led out, or else where it came first."""
        wishes = [seat.wish for seat in row.seats if seat.address]
        wish = self.home_of(wishes)
        return next((seat for seat in row.seats if seat.wish is wish), None)

    def home_of(self, wishes: Iterable[Wish]) -> Wish | None:
        """Of somebody with these wishes."""
        wishes = [wish for wish in wishes if wish.network != NONE]
        led_out = (wish for wish in wishes if not self._networks[wish.network].spec.internal)
        return next(led_out, wishes[0] if wishes else None)

    def bridge(self, seat: Seat) -> str:
        return self._networks[seat.network].bridge

    def visits(self, row: Row) -> tuple[rules.Visit, ...]:
        home = self.home(row)
        if home is None:
            return ()
        at = self.bridge(home)
        return tuple(rules.Visit(at, self.bridge(s), s.address) for s in row.seats if s.address and s is not home)

    def member(self, row: Row, published: tuple[PublishedPort, ...]) -> rules.Member:
        home = self.home(row)
        if home is None:
            return rules.Member(())
        claims = tuple(rules.Claim(self.tap(row), home.mac, seat.address) for seat in row.seats if seat.address)
        return rules.Member(claims, self.visits(row), published, home.address)

    def port(self, row: Row, published: tuple[PublishedPort, ...]) -> Port:
        home = self.home(row)
        places = tuple(self._place(seat, (home or seat).mac) for seat in row.seats)
        if home is None:
            return Port(row.id, places, (), published)
        spec = self._networks[home.network].spec
        # From an internal network nothing leads to where all others ask for names.
        return Port(row.id, places, (spec.gateway if spec.internal else self._resolver,), published)

    def _place(self, seat: Seat, mac: str) -> Place:
        spec = self._networks[seat.network].spec
        if seat.network == NONE:
            return Place(seat.wish, spec.name, mac, "", "", links.MTU)
        address = f"{seat.address}/{spec.subnet.partition('/')[2]}"
        return Place(seat.wish, spec.name, mac, address, "" if spec.internal else spec.gateway, spec.mtu)

    def join(self, row: Row) -> None:
        """Put its tap, if it has one, where its home is, and lead to where it is a visitor."""
        home = self.home(row)
        if home is None:
            return
        links.rejoin(self.tap(row), self.bridge(home))
        for visit in self.visits(row):
            for bridge in (visit.home, visit.bridge):
                links.answer_for_others(bridge)
            links.add_route(visit.address, visit.home)

    def part(self, before: Row, after: Row | None = None) -> None:
        """Undo what `join` did for *before*, but for what it does for *after*."""
        home, new = self.home(before), self.home(after) if after is not None else None
        if home is not None and after is not None and (new is None or new.network != home.network):
            links.leave(self.tap(before), self.bridge(home))
        kept = self.visits(after) if after is not None else ()
        for visit in self.visits(before):
            if visit not in kept:
                links.delete_route(visit.address, visit.home)
