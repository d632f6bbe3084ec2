# SPDX-License-Identifier: Apache-2.0
"""Who may have which volume: one VM that writes to it, or any number that only read it.

A file system on a disk bears no second kernel beside one that writes, so starts are refused that would bring one. Who
has what is asked of the containers each time, and counted nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hypercell.base.errors import Conflict
from hypercell.node.volumes.store import VolumeStore
from hypercell.node.volumes.volume import Volume

if TYPE_CHECKING:
    from hypercell.node.container import Container


class Claims:
    def __init__(self, volumes: VolumeStore, patience: float) -> None:
        self.containers: Mapping[str, Container] = {}
        """All of the node's, by id. Set by the node."""
        self._volumes = volumes
        self._patience = patience
        """Seconds that a start waits for a VM that is on its way out."""
        self._changed = asyncio.Event()

    def users(self, volume_id: str) -> list[str]:
        """Ids of the containers that were made with it, whether they run or not."""
        return self.users_by_volume().get(volume_id, [])

    def users_by_volume(self) -> dict[str, list[str]]:
        """The same of all volumes that have any."""
        found: dict[str, list[str]] = {}
        for container in self.containers.values():
            for use in container.pod.record.spec.volumes:
                found.setdefault(use.volume, []).append(container.id)
        return found

    def tell(self) -> None:
        """A VM has let go of its volumes, or somebody who waits for that need not any more."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def claim(self, container: Container) -> None:
        """Let the VM that is to be have its volumes, until it is destroyed. Waits for VMs that are ending, and for one
        that puts in order what both only read.

        Raises `Conflict`: another has one of them, or somebody wanted the end of this VM meanwhile; `NotFound`.
        """
        pod = container.pod
        for use in pod.record.spec.volumes:
            self._volumes.get(use.volume)
        try:
            async with asyncio.timeout(self._patience):
                while not pod.doomed and (others := list(self._in_the_way(container))):
                    if not all(_leaves(other) or (other.starting and shared) for other, _, shared in others):
                        break
                    await self._changed.wait()
        except TimeoutError:
            pass
        if pod.doomed:
            raise Conflict(f"container {container.id} was stopped while it waited for its volumes")
        for other, volume, shared in self._in_the_way(container):
            raise _refusal(other, volume, shared)
        pod.has_volumes = bool(pod.record.spec.volumes)

    def _in_the_way(self, container: Container) -> Iterator[tuple[Container, Volume, bool]]:
        """Containers whose VMs have what its VM could not have beside them now, which volume that is, and whether both
        would only read it."""
        wanted = {use.volume: use.read_only for use in container.pod.record.spec.volumes}
        for other in self.containers.values():
            if other.pod is container.pod or not other.pod.has_volumes:
                continue
            for use in other.pod.record.spec.volumes:
                if use.volume not in wanted:
                    continue
                volume, shared = self._volumes.get(use.volume), use.read_only and wanted[use.volume]
                if not (shared and volume.clean):  # else one of them has to put it in order
                    yield other, volume, shared


def _refusal(other: Container, volume: Volume, shared: bool) -> Conflict:
    holder = other.record.name
    told = f'volume "{volume.name}" is used by the container "{holder}" ({other.id[:12]})'
    if shared:
        return Conflict(told, "that one is still putting it in order: try again when it runs")
    return Conflict(
        told,
        f"stop that one first (stop {holder}), or mount the volume read-only in both: it is for one container that "
        "writes to it, or for any number that only read it",
    )


def _leaves(container: Container) -> bool:
    """Its VM is ending, or it is not known yet whether there is one."""
    return container.run is None and not container.starting
