# SPDX-License-Identifier: Apache-2.0
"""A container that joins another (docker's modes `container:X`), and lives in the VM of its pod: what it has from
there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypercell.base.errors import InvalidArgument, NotFound, Unsupported
from hypercell.base.sizes import MIB
from hypercell.cloud.contract import ContainerRequest
from hypercell.cloud.joins import JOINABLE
from hypercell.cloud.mounting import pod_volumes
from hypercell.cloud.resolve import Resolved
from hypercell.node.container import Container
from hypercell.node.network import Port
from hypercell.node.spec import Json, Membership, PodSpec

NOWHERE = Port("", (), ())
"""The place on the network of who has none of its own."""
_SHARED_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")


def find(request: ContainerRequest, get: Callable[[str], Container]) -> Container | None:
    """Whom it joins. Raises `InvalidArgument` when *get* finds nobody: clients take a `NotFound` for the image's."""
    for ref in request.joins.values():
        try:
            container = get(ref)
        except NotFound as error:
            raise InvalidArgument(error.message, "hypercell ps -a shows those that there are") from None
        container.refuse_unusable()
        return container
    return None


def adapted(request: ContainerRequest, other: Container, its: ContainerRequest) -> ContainerRequest:
    """With what it has from *other*, whose request is *its*."""
    joins = dict.fromkeys(request.joins, other.id)
    if "ipc" in joins and not (its.ipc_shareable or "ipc" in its.joins or "ipc" in its.vm_namespaces):
        words = f"container {other.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
        raise InvalidArgument(words)
    if "network" not in joins:
        return replace(request, joins=joins)
    return replace(request, joins=joins, hostname=its.hostname, domainname=its.domainname)


def within(resolved: Resolved, vm: PodSpec, sized: bool) -> Resolved:
    """What it may use, in a VM that is there: all of that unless it says less. *sized*: it asked for a size class.
    Raises `Unsupported`."""
    request = resolved.request
    if request.binds:
        words = "directories of this machine cannot be given to a container that joins another"
        raise Unsupported(words, "mount them in that one, or use a volume: a VM has them from its boot on")
    memory = resolved.memory if request.memory or sized else vm.memory
    told = [*resolved.warnings, *warnings(request, memory, vm)]
    if "ipc" in request.joins:
        told.append("of the other's IPC the container has System V's and message queues: its /dev/shm is its own")
    return replace(resolved, memory=memory, vcpus=vm.vcpus, warnings=tuple(told))


def warnings(request: ContainerRequest, memory: int, vm: PodSpec) -> list[str]:
    """Of limits beyond what the VM has, which docker would call the host."""
    found = []
    if memory > vm.memory:
        found.append(f"the VM that the container joins has {vm.memory // MIB} MiB: it cannot use {memory // MIB} MiB")
    if request.nano_cpus > vm.vcpus * 10**9:
        asked = request.nano_cpus / 10**9
        found.append(f"the VM that the container joins has {vm.vcpus} CPUs: it cannot use {asked:g}")
    return found


def membership(resolved: Resolved, other: Container, disk_size: int) -> Membership:
    joins = tuple(kind for kind in JOINABLE if kind in resolved.request.joins)
    return Membership(other.id, joins, disk_size, pod_volumes(resolved.mounts))


def place(request: ContainerRequest, other: Container) -> Port:
    """What it sees as its place on the network."""
    return other.pod.port if request.network != "none" or "network" in request.joins else NOWHERE


def files(request: ContainerRequest, own: tuple[Json, ...], other: Container) -> tuple[Json, ...]:
    """Names go with the network: who has that of another has its files of names too."""
    if "network" not in request.joins:
        return own
    return tuple(file for file in other.record.spec.files if file["path"] in _SHARED_FILES)
