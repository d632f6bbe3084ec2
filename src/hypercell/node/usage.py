# SPDX-License-Identifier: Apache-2.0
"""What a running container uses: the guest's account of itself beside the host's."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from hypercell.base.errors import Internal
from hypercell.node.container import Container

Json = dict[str, Any]


async def stats(container: Container) -> Json:
    """The agent's `container.stats`, with the host's own counters as `host`. Empty for one that does not run."""
    vm = container.pod.vm
    if container.run is None or vm is None:
        return {}
    reply = await container.request("container.stats")
    return {**reply, "host": asdict(await vm.host_usage())}


async def top(container: Container) -> list[Json]:
    """The agent's processes, with `cpu_seconds` and `started_ns` (Unix time) computed, and `memory_total`."""
    reply = await container.request("container.processes")
    processes, ticks = reply.get("processes"), reply.get("ticks_per_second")
    uptime = reply.get("uptime_ns")
    if not isinstance(processes, list) or not isinstance(ticks, int) or ticks < 1 or not isinstance(uptime, int):
        raise Internal("the guest's list of processes makes no sense")
    booted, memory = time.time_ns() - uptime, reply.get("memory_total", 0)
    return [
        _row(process, ticks, booted) | {"memory_total": memory} for process in processes if isinstance(process, dict)
    ]


def _row(process: Json, ticks: int, booted_ns: int) -> Json:
    cpu, start = process.get("cpu_ticks"), process.get("start_ticks")
    return {
        **process,
        "cpu_seconds": cpu / ticks if isinstance(cpu, int) else 0.0,
        "started_ns": booted_ns + (start * 10**9 // ticks if isinstance(start, int) else 0),
    }
