# SPDX-License-Identifier: Apache-2.0
"""Changing what a container may use, while it runs or before its next start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypercell.base.errors import Unsupported
from hypercell.node.container import Container
from hypercell.node.spec import ContainerSpec, PodSpec

Json = dict[str, Any]


async def update(container: Container, pod_spec: PodSpec | None, spec: ContainerSpec, extension: Json) -> None:
    """Put new specs in the place of the old ones; of a running container the resources change at once. No *pod_spec*:
    the pod is another's.

    Raises `Unsupported` when a running VM would have to grow.
    """
    async with container.lock:
        container.refuse_unusable()
        old = container.pod.record.spec
        if container.run is not None:
            if pod_spec is not None and (pod_spec.memory > old.memory or pod_spec.vcpus > old.vcpus):
                words = f"the VM of container {container.id[:12]} cannot grow while it runs"
                raise Unsupported(words, "stop it, update it, start it")
            resources = spec.oci["linux"]["resources"]
            if resources != container.record.spec.oci["linux"]["resources"]:
                await container.request("container.update", resources=resources)
        pod = replace(container.pod.record, spec=pod_spec) if pod_spec is not None else None
        record = replace(container.record, spec=spec, extension=extension)
        await container.services.records.respecify(pod, record)
        container.pod.record = pod or container.pod.record
        container.record = replace(container.record, spec=spec, extension=extension)
