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
    from hypercell.node.pod import Pod


class Claims:
    def __init__(self, volumes: VolumeStore, patience: float) -> None:
        self.containers: Mapping[str, Container] = {}
        """All of the node's, by id. Set by the node."""
        self.nameless = False
        """Some container has lost its id, and nobody knows what belongs to it. Set by the node."""
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
            for use in container.volumes:
                found.setdefault(use.volume, []).append(container.id)
        return found

    def may_have_others(self, tenant: str) -> bool:
        """Whether there is a container of the tenant's of which nobody knows which volumes it has."""
        damaged = (one for one in self.containers.values() if one.record.damaged)
        return self.nameless or any(one.record.tenant == tenant for one in damaged)

    def tell(self) -> None:
        """A VM has let go of its volumes, or somebody who waits for that need not any more."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def claim(self, container: Container, pod: Pod) -> None:
        """Let the VM of *pod*, which is or is to be, have the container's volumes, until it is destroyed or they are
        given back (`plugging.unplug`). Waits for VMs that are ending, and for one that puts in order what both only
        read.

        Raises `Conflict`: another has one of them, or somebody wanted the end of this meanwhile; `NotFound`.
        """
        for use in container.volumes:
            self._volumes.get(use.volume)
        try:
            async with asyncio.timeout(self._patience):
                while not (pod.doomed or container.aborted) and (others := list(self._in_the_way(container, pod))):
                    if not all(_leaves(other) or (other.starting and shared) for other, _, shared in others):
                        break
                    await self._changed.wait()
        except TimeoutError:
            pass
        if pod.doomed or container.aborted:
            raise Conflict(f"container {container.id} was stopped while it waited for its volumes")
        for other, volume, shared in self._in_the_way(container, pod):
            raise _refusal(other, volume, shared)
        for use in container.volumes:
            held = pod.volumes.get(use.volume)
            if held is not None and held.plugged and held.read_only and not use.read_only:
                name = self._volumes.get(use.volume).name
                words = f'volume "{name}" is read-only in the VM that the container joins'
                raise Conflict(words, "mount it read-only here too, or stop the containers of that VM that mount it")
        pod.hold(container.id, container.volumes)

    def _in_the_way(self, container: Container, pod: Pod) -> Iterator[tuple[Container, Volume, bool]]:
        """Containers whose VMs have what the VM of *pod* could not have beside them now, which volume that is, and
        whether both would only read it."""
        wanted = {use.volume: use.read_only for use in container.volumes}
        for other, vm in self._places():
            if vm is pod:
                continue
            for volume_id, held in vm.volumes.items():
                if volume_id not in wanted or other.id not in held.users:
                    continue
                volume, shared = self._volumes.get(volume_id), held.read_only and wanted[volume_id]
                if not (shared and volume.clean):  # else one of them has to put it in order
                    yield other, volume, shared

    def _places(self) -> Iterator[tuple[Container, Pod]]:
        """Each container with each VM in which it may have volumes."""
        for container in self.containers.values():
            yield container, container.pod
            if container.aside is not None:
                yield container, container.aside


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
