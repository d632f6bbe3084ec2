# SPDX-License-Identifier: Apache-2.0
"""Volumes in a VM: their disks are plugged in once its guest answers, and go with it.

A disk that is only read cannot be put in order: its journal is not replayed, and what the image has is not copied to
it. So a volume that was not let go of in order, or never used, is plugged in to be written first, mounted once, taken
away and plugged in again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from hypercell.agent.contract import Agent
from hypercell.base.crash import crash_point
from hypercell.base.errors import HypercellError, InvalidArgument, NotFound, Unsupported
from hypercell.node.bare import bare
from hypercell.node.pod import Pod
from hypercell.node.spec import ContainerSpec, PodVolume
from hypercell.node.volumes import HeldVolume, serial
from hypercell.vm.driver import ROOT_OF_DISKS, Disk, Vm

Json = dict[str, Any]
VOLUME_MOUNT = "hypercell.volume"
"""The type of a mount whose source is the name of a volume's disk."""
_FEATURE = "volumes"
_IN_ORDER = "in-order"
"""The container in which volumes are mounted for nobody."""
_DISORDER = "was not let go of in order"
"""In the agent's words (guest/agent/disk.c)."""
_IN_MEMORY = {**ROOT_OF_DISKS, "upper": {"tmpfs": {"size": 16 * 1024**2}}}


def volume_mounts(spec: ContainerSpec) -> list[Json]:
    return [mount for mount in spec.oci["mounts"] if mount["type"] == VOLUME_MOUNT]


async def plug(pod: Pod, agent: Agent, spec: ContainerSpec, uses: Iterable[PodVolume]) -> None:
    """Give the guest the disks of volumes, of which the pod has made sure that they are its own (`Claims`). Those that
    it has already stay as they are.

    Raises `Unsupported` (a guest of an earlier build), `NotFound`, and what `Vm.plug` and the agent raise.
    """
    async with pod.plugging:
        wanted = {use.volume: pod.volumes[use.volume] for use in uses}
        fresh = {volume: held for volume, held in wanted.items() if not held.plugged}
        if fresh:
            await _plug(pod, agent, spec, fresh)


async def _plug(pod: Pod, agent: Agent, spec: ContainerSpec, fresh: Mapping[str, HeldVolume]) -> None:
    store = pod.services.volumes
    if _FEATURE not in agent.welcome.features:
        raise Unsupported("this guest knows of no volumes", "build the guest anew: make guest")
    disordered = [volume for volume, held in fresh.items() if held.read_only and not store.get(volume).clean]
    if disordered:
        await _put_in_order(pod, agent, spec, disordered)
    await store.note_clean([volume for volume, held in fresh.items() if not held.read_only], False)
    for volume, held in fresh.items():
        await _plug_one(pod, volume, held.read_only)
        held.plugged = True


async def unplug(pod: Pod, vm: Vm, container_id: str, used: bool) -> None:
    """A container is gone from the guest: take out the volumes for which it was the last. *used*: the guest had them
    mounted, and has let go of them in order. Raises `VmFailed`, `Unavailable`, and what the agent does."""
    async with pod.plugging:
        mine = [volume for volume, held in pod.volumes.items() if container_id in held.users]
        if mine and not used:
            await _leave_order(pod)
        for volume in mine:
            held = pod.volumes[volume]
            held.users.discard(container_id)
            if held.users:
                continue
            # One that was not plugged in for good may be there to be put in order.
            with contextlib.suppress(InvalidArgument):  # it never came so far
                await vm.unplug(serial(volume))
            if held.plugged and used and not held.read_only:
                await pod.services.volumes.note_clean([volume], True)
            pod.volumes.pop(volume, None)
    pod.services.claims.tell()


async def tell_names(pod: Pod, uses: Iterable[PodVolume], error: HypercellError) -> None:
    """Make *error* say whose disk it is that the guest could not mount; one that was taken to be in order, and is not,
    is put in order the next time."""
    for volume in pod.services.volumes.known(use.volume for use in uses):
        disk = f'disk "{serial(volume.id)}"'
        if disk in error.message:
            error.message = error.message.replace(disk, f'volume "{volume.name}"')
            if _DISORDER in error.message:
                await pod.services.volumes.note_clean([volume.id], False)
                error.hint = "try again: it is put in order then"
            error.hint = error.hint or "if it is damaged, remove it (volume rm) and make it anew of a backup"


async def _put_in_order(pod: Pod, agent: Agent, spec: ContainerSpec, volumes: Iterable[str]) -> None:
    """As the container would find them if it could write to them."""
    assert pod.vm is not None
    bound, names = pod.services.bounds.request, {serial(volume) for volume in volumes}
    for volume in volumes:
        await _plug_one(pod, volume, read_only=False)
    mounts = [mount for mount in volume_mounts(spec) if mount["source"] in names]
    await agent.request("container.create", bare(_IN_ORDER, _IN_MEMORY, mounts), bound)
    await agent.request("container.delete", {"container": _IN_ORDER, "force": True}, bound)
    for name in names:
        await pod.vm.unplug(name)
    crash_point("volumes-in-order")
    await pod.services.volumes.note_clean(volumes, True)
    pod.services.claims.tell()


async def _leave_order(pod: Pod) -> None:
    """Volumes may have been about to be put in order when that failed, or the daemon ended."""
    if pod.agent is not None:
        with contextlib.suppress(NotFound):
            members = {"container": _IN_ORDER, "force": True}
            await pod.agent.request("container.delete", members, pod.services.bounds.request)


async def _plug_one(pod: Pod, volume: str, read_only: bool) -> None:
    assert pod.vm is not None
    disk = pod.services.volumes.storage.disk(volume)
    await pod.vm.plug(serial(volume), Disk(disk, read_only))
