# SPDX-License-Identifier: Apache-2.0
"""Which volumes a container gets, and where: docker's rules of what goes before what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import ContainerRequest, Mounted, MountRequest
from hypercell.cloud.validate import check_target
from hypercell.cloud.volumes import VolumeService
from hypercell.node.spec import PodVolume
from hypercell.node.volumes import Volume

MAX_MOUNTS = 32
"""Of one container, those that its image declares included: each may be a disk of its VM."""
OTHERS = Callable[[str], tuple[Mounted, ...]]
"""What another container, by name or id, has mounted. Raises `InvalidArgument` when there is none."""


@dataclass(slots=True)
class Plan:
    mounts: dict[str, Mounted] = field(default_factory=dict)
    """By target."""
    made: list[Volume] = field(default_factory=list)
    """Volumes that are to be made with the container."""


def wants_volumes(request: ContainerRequest) -> bool:
    return bool(request.mounts or request.volumes or request.volumes_from)


def plan(tenant: str, request: ContainerRequest, volumes: VolumeService, others: OTHERS) -> Plan:
    """Raises `InvalidArgument`, `Unsupported`."""
    found = Plan()
    for source in request.volumes_from:
        for mount in others(source.container):
            read_only = mount.read_only or source.read_only
            found.mounts[mount.target] = replace(mount, read_only=read_only, copy=False, mode="")
    for wanted in request.mounts:
        found.mounts[wanted.target] = _mounted(tenant, wanted, volumes, found.made)
    for target in request.volumes:
        check_target(target)
        if target not in found.mounts and target not in request.tmpfs:
            found.mounts[target] = _mounted(tenant, MountRequest(target), volumes, found.made)
    if len(found.mounts) > MAX_MOUNTS:
        words = f"the container and its image have {len(found.mounts)} volumes, and one may have {MAX_MOUNTS}"
        raise InvalidArgument(words, "mount directories of one volume (volume-subpath)")
    return found


def inheriting(request: ContainerRequest, others: Callable[[str], ContainerRequest]) -> ContainerRequest:
    """*request* with what the containers of `volumes_from` have of the host, where it has nothing of its own."""
    taken = {*(bind.target for bind in request.binds), *(mount.target for mount in request.mounts), *request.tmpfs}
    inherited = {}
    for source in request.volumes_from:
        for bind in others(source.container).binds:
            if bind.target not in taken:
                inherited[bind.target] = replace(bind, read_only=bind.read_only or source.read_only)
    return replace(request, binds=(*inherited.values(), *request.binds))


def _mounted(tenant: str, wanted: MountRequest, volumes: VolumeService, made: list[Volume]) -> Mounted:
    volume = volumes.known(tenant, wanted.volume) if wanted.volume else None
    if volume is None:  # perhaps one that is mounted twice
        volume = next((one for one in made if one.name == wanted.volume), None)
    if volume is None:
        volume = volumes.drafted(tenant, wanted.volume, wanted.labels, wanted.options)
        made.append(volume)
    return Mounted(
        wanted.target,
        volume.id,
        volume.name,
        read_only=wanted.read_only,
        copy=wanted.copy,
        subpath=wanted.subpath,
        mode=wanted.mode,
        own=not wanted.volume,
    )


def pod_volumes(mounts: tuple[Mounted, ...]) -> tuple[PodVolume, ...]:
    """Each volume once, writable if it is so anywhere."""
    read_only: dict[str, bool] = {}
    for mount in mounts:
        read_only[mount.volume] = read_only.get(mount.volume, True) and mount.read_only
    return tuple(PodVolume(volume, only) for volume, only in read_only.items())
