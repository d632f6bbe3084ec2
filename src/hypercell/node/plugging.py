# SPDX-License-Identifier: Apache-2.0
"""Volumes in a VM: their disks are plugged in once its guest answers, and go with it.

A disk that is only read cannot be put in order: its journal is not replayed, and what the image has is not copied to
it. So a volume that was not let go of in order, or never used, is plugged in to be written first, mounted once, taken
away and plugged in again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypercell.agent.contract import Agent
from hypercell.base.crash import crash_point
from hypercell.base.errors import HypercellError, Unsupported
from hypercell.node.bare import bare
from hypercell.node.pod import Pod
from hypercell.node.spec import ContainerSpec
from hypercell.node.volumes import serial
from hypercell.vm.driver import ROOT_OF_DISKS, Disk

Json = dict[str, Any]
VOLUME_MOUNT = "hypercell.volume"
"""The type of a mount whose source is the name of a volume's disk."""
_FEATURE = "volumes"
_IN_ORDER = "in-order"
"""The container in which volumes are mounted for nobody."""
_IN_MEMORY = {**ROOT_OF_DISKS, "upper": {"tmpfs": {"size": 16 * 1024**2}}}


def volume_mounts(spec: ContainerSpec) -> list[Json]:
    return [mount for mount in spec.oci["mounts"] if mount["type"] == VOLUME_MOUNT]


async def plug(pod: Pod, agent: Agent, spec: ContainerSpec) -> None:
    """Give the guest the disks of the pod's volumes, of which it has made sure that they are its own (`Claims`).

    Raises `Unsupported` (a guest of an earlier build), `NotFound`, and what `Vm.plug` and the agent raise.
    """
    uses, store = pod.record.spec.volumes, pod.services.volumes
    if not uses:
        return
    if _FEATURE not in agent.welcome.features:
        raise Unsupported("this guest knows of no volumes", "build the guest anew: make guest")
    disordered = [use.volume for use in uses if use.read_only and not store.get(use.volume).clean]
    if disordered:
        await _put_in_order(pod, agent, spec, disordered)
    await store.note_clean([use.volume for use in uses if not use.read_only], False)
    for use in uses:
        await _plug_one(pod, use.volume, use.read_only)


def tell_names(pod: Pod, error: HypercellError) -> None:
    """Make *error* say whose disk it is that the guest could not mount."""
    for volume in pod.services.volumes.known(use.volume for use in pod.record.spec.volumes):
        disk = f'disk "{serial(volume.id)}"'
        if disk in error.message:
            error.message = error.message.replace(disk, f'volume "{volume.name}"')
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


async def _plug_one(pod: Pod, volume: str, read_only: bool) -> None:
    assert pod.vm is not None
    disk = pod.services.volumes.storage.disk(volume)
    await pod.vm.plug(serial(volume), Disk(disk, read_only))
