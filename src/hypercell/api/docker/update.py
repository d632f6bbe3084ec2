# SPDX-License-Identifier: Apache-2.0
"""`POST /containers/{id}/update`: another restart policy, other limits."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.create.host import parse_restart
from hypercell.api.docker.create.refused import refuse_what_is_not_built, warn_of_the_meaningless
from hypercell.api.docker.create.resources import Resources, nano_cpus, parse_resources
from hypercell.api.docker.documents import Fields
from hypercell.api.docker.engine import Call
from hypercell.api.docker.query import json_fields
from hypercell.api.http import Response, json_response
from hypercell.base.errors import Conflict
from hypercell.cloud.contract import ContainerView

_PIDS_LIMIT = (1, 40)
"""The API's version from which on an update knows it."""
_NO_KERNEL_MEMORY = (1, 42)
"""That from which on nobody looks at it."""


async def update_container(call: Call) -> Response:
    engine, name = call.app, call.params["name"]
    fields = await json_fields(call)
    refuse_what_is_not_built(fields)
    warnings = warn_of_the_meaningless(fields)
    restart = parse_restart(fields)
    pids = fields.optional_number("PidsLimit")
    if call.version < _PIDS_LIMIT:
        pids = None
    warnings += _kernel_memory(fields, call.version)
    resources = parse_resources(fields, update=True)
    fields.finish()
    cpus, shown = _cpu_time(await engine.containers.inspect(engine.tenant, name), resources)
    if resources.cpuset_mems:
        shown["CpusetMems"] = resources.cpuset_mems
    warnings += await engine.containers.update(
        engine.tenant,
        name,
        restart=restart,
        nano_cpus=cpus,
        memory=resources.memory,
        memory_reservation=resources.memory_reservation,
        cpuset_cpus=resources.cpuset_cpus,
        cpu_shares=resources.cpu_shares,
        pids_limit=0 if pids is None else pids if pids > 0 else -1,
        door=shown,
    )
    return json_response({"Warnings": [*warnings, *resources.warnings]})


def _kernel_memory(fields: Fields, version: tuple[int, ...]) -> list[str]:
    asked = fields.number("KernelMemory")
    if asked <= 0 or version >= _NO_KERNEL_MEMORY:
        return []
    return ["A VM limits memory as a whole: kernel memory limit discarded."]


def _cpu_time(view: ContainerView, asked: Resources) -> tuple[int, dict[str, Any]]:
    """Billionths of a CPU (0: as they are, negative: no limit), and the quota and period that they come of.

    Raises `Conflict` in dockerd's words: what was limited in one way is not limited in the other.
    """
    shown = view.request.door.get("HostConfig", {})
    quota, period = shown.get("CpuQuota", 0), shown.get("CpuPeriod", 0)
    if not (asked.cpu_quota or asked.cpu_period):
        for name, has in (("CPU Period", period), ("CPU Quota", quota)):
            if asked.nano_cpus and has > 0:
                raise Conflict(f"Conflicting options: Nano CPUs cannot be updated as {name} has already been set")
        return asked.nano_cpus, {}
    for name, wanted in (("CPU Period", asked.cpu_period), ("CPU Quota", asked.cpu_quota)):
        if wanted > 0 and quota <= 0 and view.request.nano_cpus:
            raise Conflict(f"Conflicting options: {name} cannot be updated as NanoCPUs has already been set")
    quota, period = asked.cpu_quota or quota, asked.cpu_period or period
    cpus = nano_cpus(quota, period) or (-1 if asked.cpu_quota else 0)
    return cpus, {"CpuQuota": quota, "CpuPeriod": period}
