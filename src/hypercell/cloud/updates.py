# SPDX-License-Identifier: Apache-2.0
"""`update`: another restart policy, other limits."""

from __future__ import annotations

from dataclasses import replace

from hypercell.base.errors import Conflict, InvalidArgument
from hypercell.cloud import codec, membership, oci
from hypercell.cloud.contract import RestartPolicy
from hypercell.cloud.cpusets import check_cpus
from hypercell.cloud.creation import pod_spec
from hypercell.cloud.resolve import Resolved
from hypercell.cloud.validate import check_limits, check_restart
from hypercell.node.container import Container
from hypercell.node.updating import update as update_container


async def update(
    container: Container,
    resolved: Resolved,
    max_vcpus: int,
    restart: RestartPolicy | None,
    nano_cpus: int,
    memory: int,
    memory_reservation: int,
    pids_limit: int,
    cpuset_cpus: str,
) -> list[str]:
    """Warnings. 0, or an empty text, leaves a limit as it is. Raises `InvalidArgument`, `Conflict`, `Unsupported`
    (growth of a running VM)."""
    request = resolved.request
    if restart is not None:
        check_restart(restart)
        if request.auto_remove and restart.name not in ("", "no"):
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        request = replace(request, restart=replace(restart, name=restart.name or "no"))
    request = replace(
        request,
        nano_cpus=nano_cpus or request.nano_cpus,
        memory=memory or request.memory,
        memory_reservation=memory_reservation or request.memory_reservation,
        pids_limit=pids_limit or request.pids_limit,
        cpuset_cpus=cpuset_cpus or request.cpuset_cpus,
    )
    check_limits(request)
    vcpus = -(-nano_cpus // 10**9) or resolved.vcpus
    if vcpus > max_vcpus:
        words = f"range of CPUs is from 0.01 to {max_vcpus}.00, as there are only {max_vcpus} CPUs available"
        raise InvalidArgument(words)
    if container.joined:
        vcpus = resolved.vcpus
    elif container.run is not None:  # fewer CPUs are a smaller share of the same VM; it shrinks at its next start
        vcpus = max(vcpus, resolved.vcpus)
    check_cpus(request.cpuset_cpus, vcpus)
    changed = replace(resolved, request=request, memory=memory or resolved.memory, vcpus=vcpus)
    spec, pod = container.record.spec, container.pod.record.spec
    linux = {**spec.oci["linux"], "resources": oci.resources(changed)}
    await update_container(
        container,
        None if container.joined else pod_spec(changed, pod.disk_size),
        replace(spec, oci={**spec.oci, "linux": linux}, restart=request.restart),
        codec.dump(changed),
    )
    return membership.warnings(request, changed.memory, pod) if container.joined else []
