# SPDX-License-Identifier: Apache-2.0
"""The cache of builds: the nameless images that their steps made, and which of them a prune takes.

Steps go one by one, the one that was used longest ago first, and none before those that were made of it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from hypercell.base.db import Transaction
from hypercell.images.contract import CachedStep, Room

Pieces = Mapping[str, frozenset[str]]
"""By image id, the files in the store that it needs, named by `blob_of` and `chain_of`."""


def blob_of(digest: str) -> str:
    return f"blob {digest}"


def chain_of(chain_id: str) -> str:
    return f"chain {chain_id}"


def pieces(tx: Transaction, tenant: str) -> tuple[dict[str, frozenset[str]], set[str]]:
    """What each of the tenant's images needs, and what images of others do."""
    needs: dict[str, set[str]] = {}
    foreign: set[str] = set()
    rows = tx.execute(
        "SELECT tenant, image_id, digest, '' FROM image_layers UNION ALL SELECT tenant, id, id, chain_id FROM images"
    )
    for owner, image_id, digest, chain_id in rows:
        found = foreign if owner != tenant else needs.setdefault(image_id, set())
        found.add(blob_of(digest))
        if chain_id:
            found.add(chain_of(chain_id))
    return {image_id: frozenset(found) for image_id, found in needs.items()}, foreign


def shared(cache: Collection[str], parents: Mapping[str, str]) -> set[str]:
    """Those of the *cache* that an image outside it was made of, whatever lies between. *parents*: by image id."""
    found: set[str] = set()
    for image_id in parents.keys() - set(cache):
        above = parents.get(image_id, "")
        while above and above not in found:
            found.add(above)
            above = parents.get(above, "")
    return found & set(cache)


class Cache:
    """The steps there are, and what they take of the disk that nothing else does."""

    def __init__(
        self, steps: Collection[CachedStep], needs: Pieces, elsewhere: Collection[str], sizes: Mapping[str, int]
    ) -> None:
        """*elsewhere*: what others than the steps need. *sizes*: of a piece, in bytes."""
        self._steps = {step.image.id: step for step in steps}
        self._needs = {image_id: needs.get(image_id, frozenset()) - set(elsewhere) for image_id in self._steps}
        self._sizes = sizes
        self._owners = Counter(piece for owned in self._needs.values() for piece in owned)
        self._children = Counter(step.image.parent for step in steps)
        self.used = sum(sizes.get(piece, 0) for piece in self._owners)

    def choose(self, wanted: Callable[[CachedStep], bool], room: Room, free: int) -> list[str]:
        """Ids of the steps to go, in that order. *free*: bytes of the disk."""
        keep = room.keep(self.used, free)
        may_go = {image_id for image_id, step in self._steps.items() if wanted(step)}
        ready = [(self._steps[ident].used_ns, ident) for ident in may_go if not self._children[ident]]
        heapq.heapify(ready)
        going: list[str] = []
        while ready and (keep is None or self.used > keep):
            ident = heapq.heappop(ready)[1]
            going.append(ident)
            self._let_go(ident)
            parent = self._steps[ident].image.parent
            self._children[parent] -= 1
            if parent in may_go and not self._children[parent]:
                heapq.heappush(ready, (self._steps[parent].used_ns, parent))
        return going

    def _let_go(self, ident: str) -> None:
        for piece in self._needs[ident]:
            self._owners[piece] -= 1
            if not self._owners[piece]:
                self.used -= self._sizes.get(piece, 0)
