# SPDX-License-Identifier: Apache-2.0
"""All volumes of this machine. A row is what makes a volume: a disk without one is a leftover, before and after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from hypercell.base.crash import crash_point
from hypercell.base.db import Database
from hypercell.base.errors import NotFound
from hypercell.node.volumes import records
from hypercell.node.volumes.storage import VolumeStorage
from hypercell.node.volumes.volume import Volume

log = logging.getLogger(__name__)


class VolumeStore:
    def __init__(self, db: Database, storage: VolumeStorage) -> None:
        self._db = db
        self.storage = storage
        self.changing = asyncio.Lock()
        """Held by whoever makes or removes volumes, or containers that use some: a volume that was just found to be
        there, or to be nobody's, stays so."""
        self.tell: Callable[[str, Volume], None] = lambda action, volume: None
        """Called with `create` and `destroy`."""
        self._by_id: dict[str, Volume] = {}
        self._by_name: dict[tuple[str, str], Volume] = {}

    async def open(self) -> None:
        """Load the records, remove what belongs to none."""
        self.storage.open()
        loaded = await records.load(self._db)
        for volume in loaded.volumes:
            self._keep(volume)
        for fault in loaded.faults:
            log.error("a volume's record cannot be read, and it is left out: %s", fault)
        if loaded.nameless:
            log.error("until the table `volumes` is repaired, no leftover of a volume is removed")
            return
        for name in await self.storage.sweep(set(self._by_id) | loaded.damaged):
            log.warning("removed the volume's directory %r, which belongs to nobody", name)

    def get(self, volume_id: str) -> Volume:
        try:
            return self._by_id[volume_id]
        except KeyError:
            raise NotFound(f"no such volume: {volume_id}", "its record may be damaged: see the daemon's log") from None

    def known(self, volume_ids: Iterable[str]) -> list[Volume]:
        """Those that there are."""
        return [self._by_id[ident] for ident in volume_ids if ident in self._by_id]

    def named(self, tenant: str, name: str) -> Volume | None:
        return self._by_name.get((tenant, name))

    def of(self, tenant: str) -> list[Volume]:
        """In the order of their names."""
        return sorted((volume for volume in self._by_id.values() if volume.tenant == tenant), key=lambda one: one.name)

    # Making

    async def make_disks(self, volumes: Iterable[Volume]) -> None:
        """The disks of volumes that are to come. Nothing is left on an error."""
        made: list[Volume] = []
        try:
            for volume in volumes:
                await self.storage.create(volume)
                made.append(volume)
        except BaseException:
            await self.drop_disks(made)
            raise
        crash_point("volume-disks")

    async def drop_disks(self, volumes: Iterable[Volume]) -> None:
        """Of volumes that never came to be, or are gone."""
        for volume in volumes:
            try:
                await self.storage.remove(volume.id)
            except OSError as error:  # the next start of the daemon tries again
                log.error("the disk of the volume %s is left over: %s", volume.name, error)

    async def create(self, volume: Volume) -> None:
        """The caller holds `changing`. Raises `Conflict`, `NoSpace`; nothing is left then."""
        await self.make_disks([volume])
        try:
            await self._db.note(lambda tx: records.insert(tx, [volume]))
        except Exception:  # whoever is cancelled does not know: a disk without a row goes when the daemon is back
            await self.drop_disks([volume])
            raise
        crash_point("volume-recorded")
        self.add([volume])

    def add(self, volumes: Iterable[Volume]) -> None:
        """They are written down."""
        for volume in volumes:
            self._keep(volume)
            self.tell("create", volume)

    # Removing

    async def remove(self, volume: Volume) -> None:
        """The caller holds `changing`, and knows that nobody uses it."""
        crash_point("volume-remove")
        await self._db.note(lambda tx: records.delete(tx, [volume.id]))
        crash_point("volume-deleted")
        self.forget([volume])
        await self.drop_disks([volume])

    def forget(self, volumes: Iterable[Volume]) -> None:
        """Their rows are gone; their disks are for the caller to drop."""
        for volume in volumes:
            self._by_id.pop(volume.id, None)
            self._by_name.pop((volume.tenant, volume.name), None)
            self.tell("destroy", volume)

    # The state of their file systems

    async def note_clean(self, volume_ids: Iterable[str], clean: bool) -> None:
        """Write down that they were, or are no longer, let go of in order."""
        changed = [volume for volume in self.known(volume_ids) if volume.clean is not clean]
        if changed:
            await self._db.note(lambda tx: records.note_clean(tx, [volume.id for volume in changed], clean))
            for volume in changed:
                self._keep(replace(volume, clean=clean))

    def _keep(self, volume: Volume) -> None:
        self._by_id[volume.id] = self._by_name[volume.tenant, volume.name] = volume
