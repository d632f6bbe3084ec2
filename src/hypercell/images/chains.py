# SPDX-License-Identifier: Apache-2.0
"""Merged roots: `chains/<chain id>.erofs`, one read-only file per distinct stack of layers, for all who use it.

A root is built aside, synced and renamed, once however many pulls ask for it. It is only taken as it is when every
layer of the asker is known to uncompress to its diff id: otherwise an image that merely claims the diff ids of
another could have that other's files.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from hypercell.base.db import Database
from hypercell.base.errors import Internal
from hypercell.images import digests, metadata
from hypercell.images.blobs import BlobStore, Lease, allocated, disk_errors, sync_directory
from hypercell.images.contract import RootImage
from hypercell.images.digests import Digest
from hypercell.images.layers import LayerSource, RootStats, build_root
from hypercell.images.locks import KeyedLocks
from hypercell.images.threads import in_thread

SUFFIX = ".erofs"


class ChainStore:
    def __init__(self, blobs: BlobStore, db: Database) -> None:
        self._blobs = blobs
        self._db = db
        self._building: KeyedLocks[Digest] = KeyedLocks()
        self.directory = blobs.root / "chains"

    def open(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o711)

    def path(self, chain_id: Digest) -> Path:
        return self.directory / (digests.hex_of(chain_id) + SUFFIX)

    def find(self, chain_id: Digest) -> RootImage | None:
        path = self.path(chain_id)
        try:
            return RootImage(path, chain_id, path.stat().st_blocks * 512)
        except FileNotFoundError:
            return None

    async def ensure(
        self,
        layers: Sequence[tuple[Digest, Digest]],
        lease: Lease,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Make sure that the root of *layers*, (digest, diff id) each and lowest first, is here; bytes of its files.

        *progress* is told (position of a layer, bytes of its blob read). Raises what `build_root` raises.
        """
        chain_id = digests.chain_ids(diff_id for _, diff_id in layers)[-1]
        lease.add(chain_id)
        async with self._building.hold(chain_id):
            known = await self._db.run(lambda tx: metadata.known_size(tx, layers, chain_id))
            if known is not None and self.find(chain_id):
                return known
            stats = await self._build(chain_id, layers, progress)
            sizes = stats.layer_content_bytes
            await self._db.run(lambda tx: metadata.know(tx, layers, sizes, chain_id, stats.content_bytes))
            return stats.content_bytes

    async def _build(
        self,
        chain_id: Digest,
        layers: Sequence[tuple[Digest, Digest]],
        progress: Callable[[int, int], None] | None,
    ) -> RootStats:
        sources = [LayerSource(self._blobs.path(digest), diff_id) for digest, diff_id in layers]
        sizes = [self._blobs.size(digest) for digest, _ in layers]
        if None in sizes:
            lost = layers[sizes.index(None)][0]
            raise Internal(f"the layer {lost} is missing from the store", "pull or load the image again")
        self._blobs.require_space(sum(size or 0 for size in sizes))
        temporary = self._blobs.temporary / (secrets.token_hex(16) + SUFFIX)
        try:
            stats = await build_root(sources, temporary, progress=progress)
            await in_thread(_publish, temporary, self.path(chain_id))
        finally:
            temporary.unlink(missing_ok=True)
        return stats

    def disk_usage(self) -> int:
        return allocated(self.directory)


def _publish(temporary: Path, final: Path) -> None:
    with disk_errors():
        fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(final)
        sync_directory(final.parent)
