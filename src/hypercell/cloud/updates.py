# SPDX-License-Identifier: Apache-2.0
"""`update`: another restart policy, other limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypercell.base.errors import Conflict, InvalidArgument
from hypercell.cloud import codec, membership, oci
from hypercell.cloud.contract import ContainerRequest, RestartPolicy
from hypercell.cloud.cpusets import check_cpus
from hypercell.cloud.creation import pod_spec
from hypercell.cloud.resolve import Resolved
from hypercell.cloud.validate import check_limits, check_restart
from hypercell.node.container import Container
from hypercell.node.updating import update as update_container

_LATER = "until its next start the VM may be held to the CPU time that it was started with"


@dataclass(frozen=True, slots=True)
class Limits:
    """As in `ContainerRequest`; 0, or an empty text, leaves a limit as it is. Negative CPUs or processes: no limit."""

    nano_cpus: int
    memory: int
    memory_reservation: int
    pids_limit: int
    cpuset_cpus: str
    cpu_shares: int
    door: Mapping[str, Any]
    """What a door wants to see of it among its `HostConfig`."""


async def update(
    container: Container, resolved: Resolved, max_vcpus: int, restart: RestartPolicy | None, asked: Limits
) -> list[str]:
    """Warnings. Raises `InvalidArgument`, `Conflict`, `Unsupported`
    (growth of a running VM)."""
    request = resolved.request
    if restart is not None:
        check_restart(restart)
        if request.auto_remove and restart.name not in ("", "no"):
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        request = replace(request, restart=replace(restart, name=restart.name or "no"))
    request = _changed(request, asked)
    # Of memory and its reservation dockerd compares only those that are asked for together.
    check_limits(replace(request, memory=asked.memory, memory_reservation=asked.memory_reservation))
    vcpus = -(-max(asked.nano_cpus, 0) // 10**9) or resolved.vcpus
    if vcpus > max_vcpus:
        words = f"range of CPUs is from 0.01 to {max_vcpus}.00, as there are only {max_vcpus} CPUs available"
        raise InvalidArgument(words)
    if container.joined:
        vcpus = resolved.vcpus
    elif container.run is not None:  # fewer CPUs are a smaller share of the same VM; it shrinks at its next start
        vcpus = max(vcpus, resolved.vcpus)
    check_cpus(request.cpuset_cpus, vcpus)
    changed = replace(resolved, request=request, memory=asked.memory or resolved.memory, vcpus=vcpus)
    spec, pod = container.record.spec, container.pod.record.spec
    resources = oci.resources(changed)
    if resolved.request.nano_cpus and not request.nano_cpus:
        resources["cpu"] = {**resources.get("cpu", {}), "quota": -1}
    linux = {**spec.oci["linux"], "resources": resources}
    await update_container(
        container,
        None if container.joined else pod_spec(changed, pod.disk_size),
        replace(spec, oci={**spec.oci, "linux": linux}, restart=request.restart),
        codec.dump(changed),
    )
    if container.joined:
        return membership.warnings(request, changed.memory, pod)
    running = container.run is not None
    return [_LATER] if running and 0 < pod.cpu_quota < (request.nano_cpus / 10**9 or math.inf) else []


def _changed(request: ContainerRequest, asked: Limits) -> ContainerRequest:
    shown = {**request.door.get("HostConfig", {}), **asked.door}
    return replace(
        request,
        nano_cpus=max(asked.nano_cpus, 0) if asked.nano_cpus else request.nano_cpus,
        memory=asked.memory or request.memory,
        memory_reservation=asked.memory_reservation or request.memory_reservation,
        pids_limit=asked.pids_limit or request.pids_limit,
        cpuset_cpus=asked.cpuset_cpus or request.cpuset_cpus,
        cpu_shares=asked.cpu_shares or request.cpu_shares,
        door={**request.door, "HostConfig": shown} if asked.door else request.door,
    )
