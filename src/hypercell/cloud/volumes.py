# SPDX-License-Identifier: Apache-2.0
"""One tenant's volumes by name: `contract.Volumes`."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Mapping

from hypercell.base.config import Config
from hypercell.base.errors import Conflict, InvalidArgument, NotFound, Unsupported
from hypercell.base.ids import new_id
from hypercell.base.quantities import bytes_in
from hypercell.cloud.contract import MIN_DISK, Event, Events, VolumeRequest, VolumeView
from hypercell.cloud.validate import check_labels, check_volume_name
from hypercell.node import Node
from hypercell.node.blanks import rounded
from hypercell.node.volumes import ANONYMOUS, Volume

_OF_HOSTS = ("type", "device", "o")
"""Options of docker's driver that say what its host mounts."""


class VolumeService:
    def __init__(self, config: Config, node: Node, events: Events) -> None:
        self._config = config
        self._node = node
        self._store = node.services.volumes
        self._events = events
        self._store.tell = lambda action, volume: self.publish(volume.tenant, volume.name, action)

    def publish(self, tenant: str, name: str, action: str, **attributes: str) -> None:
        about = {"driver": "local", **attributes}
        self._events.publish(Event("volume", action, name, about, time.time_ns(), tenant))

    def known(self, tenant: str, name: str) -> Volume | None:
        return self._store.named(tenant, name)

    def found(self, tenant: str, name: str) -> Volume:
        """Raises `NotFound`."""
        volume = self.known(tenant, name)
        if volume is None:
            raise NotFound(f"get {_shown(name)}: no such volume")
        return volume

    def drafted(self, tenant: str, name: str, labels: Mapping[str, str], options: Mapping[str, str]) -> Volume:
        """A volume that could be made. Raises `InvalidArgument`, `Unsupported`."""
        if name:
            check_volume_name(name)
        else:
            labels = {**labels, ANONYMOUS: ""}
        check_labels(labels, "the volume has")
        ident = new_id()
        size = self._size(name or ident, options)
        return Volume(ident, tenant, name or ident, time.time_ns(), size, dict(labels), dict(options))

    def _size(self, name: str, options: Mapping[str, str]) -> int:
        for option in options:
            if option in _OF_HOSTS:
                words = f"create {name}: the volume option {option!r} is not supported"
                raise Unsupported(words, "a volume is a disk of its own: nothing of this machine is mounted for it")
            if option != "size":
                raise InvalidArgument(f'create {name}: invalid option: "{_shown(option)}"', "of options there is: size")
        most = self._config.volume_size
        if "size" not in options:
            return most
        try:
            size = bytes_in(options["size"])
        except ValueError as error:
            raise InvalidArgument(f"create {name}: {error}", "such as size=2G") from None
        if not MIN_DISK <= size <= most:
            words = f"create {name}: the size of a volume must lie between {MIN_DISK >> 20} MiB and {most >> 20} MiB"
            raise InvalidArgument(words, "the operator's setting is volume_size")
        return min(most, rounded(size))

    async def create(self, tenant: str, request: VolumeRequest) -> VolumeView:
        return await self._node.services.tasks.complete(self._create(tenant, request), "create a volume")

    async def _create(self, tenant: str, request: VolumeRequest) -> VolumeView:
        draft = self.drafted(tenant, request.name, request.labels, request.options)
        async with self._store.changing:
            known = self.known(tenant, request.name)
            if known is None:
                await self._store.create(draft)
        return self._alone(known or draft)

    async def list(self, tenant: str, sizes: bool = False) -> builtins.list[VolumeView]:
        users = self._node.services.claims.users_by_volume()
        return [self._view(volume, users.get(volume.id, []), sizes) for volume in self._store.of(tenant)]

    async def inspect(self, tenant: str, name: str) -> VolumeView:
        return self._alone(self.found(tenant, name))

    async def remove(self, tenant: str, name: str, force: bool = False) -> None:
        try:
            await self._node.services.tasks.complete(self._remove(tenant, name), "remove a volume")
        except NotFound:
            if not force:
                raise

    async def _remove(self, tenant: str, name: str) -> None:
        async with self._store.changing:
            volume = self.found(tenant, name)
            if users := self._node.services.claims.users(volume.id):
                words = f"remove {volume.name}: volume is in use - [{', '.join(users)}]"
                raise Conflict(words, "remove those containers first")
            await self._store.remove(volume)

    async def prune(self, tenant: str, wanted: Callable[[VolumeView], bool]) -> tuple[builtins.list[str], int]:
        return await self._node.services.tasks.complete(self._prune(tenant, wanted), "prune volumes")

    async def _prune(self, tenant: str, wanted: Callable[[VolumeView], bool]) -> tuple[builtins.list[str], int]:
        removed: builtins.list[str] = []
        freed = 0
        async with self._store.changing:
            dead = [one for one in self._node.containers.values() if one.record.damaged]
            if any(one.record.tenant == tenant for one in dead):
                words = "volumes are not pruned while a container is dead"
                raise Conflict(words, f"nobody knows which volumes it has: remove {dead[0].id[:12]} first")
            if self._node.services.claims.nameless:
                words = "volumes are not pruned while a container has no id"
                raise Conflict(words, "repair or delete its row: the daemon's log of its start names it")
            users = self._node.services.claims.users_by_volume()
            for volume in self._store.of(tenant):
                view = self._view(volume, users.get(volume.id, []), sizes=True)
                if view.users or not wanted(view):
                    continue
                await self._store.remove(volume)
                removed.append(volume.name)
                freed += view.used or 0
        self._events.publish(Event("volume", "prune", "", {"reclaimed": str(freed)}, time.time_ns(), tenant))
        return removed, freed

    def _alone(self, volume: Volume) -> VolumeView:
        return self._view(volume, self._node.services.claims.users(volume.id))

    def _view(self, volume: Volume, users: builtins.list[str], sizes: bool = False) -> VolumeView:
        return VolumeView(
            name=volume.name,
            tenant=volume.tenant,
            created_ns=volume.created_ns,
            size=volume.size,
            labels=volume.labels,
            options=volume.options,
            anonymous=volume.anonymous,
            users=tuple(users),
            used=self._store.storage.used(volume) if sizes else None,
        )


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:300])
