# SPDX-License-Identifier: Apache-2.0
"""A line in which tenants take turns: each tenant's places in the order in which they came."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

P = TypeVar("P")


class Line(Generic[P]):
    """All operations but `position` take the same time however long the line is."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, dict[P, None]] = OrderedDict()
        """Whose turn it is comes first. A dict, since any place may be given up."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, tenant: str, place: P) -> None:
        self._tenants.setdefault(tenant, {})[place] = None
        self._length += 1

    def head(self) -> P | None:
        for places in self._tenants.values():
            return next(iter(places))
        return None

    def take(self) -> P:
        """Take the head out; then it is the next tenant's turn."""
        tenant, places = next(iter(self._tenants.items()))
        place = next(iter(places))
        self.remove(tenant, place)
        if tenant in self._tenants:
            self._tenants.move_to_end(tenant)
        return place

    def remove(self, tenant: str, place: P) -> bool:
        """True if it was in the line."""
        places = self._tenants.get(tenant)
        if places is None or place not in places:
            return False
        del places[place]
        self._length -= 1
        if not places:
            del self._tenants[tenant]
        return True

    def position(self, tenant: str, place: P) -> int:
        """1 for the head. Tenants that come later may still push it back, but each by one round only."""
        index = list(self._tenants[tenant]).index(place)
        ahead, before = 0, True
        for name, places in self._tenants.items():
            if name == tenant:
                before = False
                continue
            ahead += min(len(places), index + before)
        return ahead + index + 1

    def places(self) -> list[P]:
        return [place for places in self._tenants.values() for place in places]
