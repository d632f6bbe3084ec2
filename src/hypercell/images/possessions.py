# SPDX-License-Identifier: Apache-2.0
"""Which blobs of the store a tenant may use without fetching them again.

The store is shared, but a manifest that names a blob is no proof of being allowed to read it. A tenant has a blob by
right when one of its images contains it, or when it has been downloaded for the tenant before.
"""

from __future__ import annotations

from collections.abc import Callable

from hypercell.base.db import Database
from hypercell.images import metadata
from hypercell.images.digests import Digest
from hypercell.images.locks import KeyedLocks


class Possessions:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._downloaded: set[tuple[str, Digest]] = set()
        """By this daemon, for pulls that have not (yet) become images."""
        self.locks: KeyedLocks[tuple[str, Digest]] = KeyedLocks()
        """Held while a blob is downloaded for a tenant, so that two pulls do not fetch it twice."""

    async def has(self, tenant: str, digest: Digest) -> bool:
        if (tenant, digest) in self._downloaded:
            return True
        return bool(await self._db.run(lambda tx: metadata.owns(tx, tenant, digest)))

    def downloaded(self, tenant: str, digest: Digest) -> None:
        self._downloaded.add((tenant, digest))

    def forget(self, is_here: Callable[[Digest], bool]) -> None:
        """Drop what has been swept from the store."""
        self._downloaded = {entry for entry in self._downloaded if is_here(entry[1])}
