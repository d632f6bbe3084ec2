# SPDX-License-Identifier: Apache-2.0
"""`GET /containers/{id}/stats`: what the guest's agent measures, in docker's shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from hypercell.api.docker.engine import Call
from hypercell.api.docker.query import flag
from hypercell.api.docker.times import ZERO_TIME, rfc3339
from hypercell.api.http import Reply, StreamResponse, encode, json_response
from hypercell.base.errors import HypercellError, InvalidArgument
from hypercell.cloud.contract import ContainerView

Json = dict[str, Any]
_INTERVAL = 1.0
_NO_CPU: Json = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_BLOCK_IO = [
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
]


async def container_stats(call: Call) -> Reply:
    engine, query = call.app, call.query
    stream = flag(query, "stream", default=True)
    one_shot = flag(query, "one-shot") if call.version >= (1, 41) else False
    if stream and one_shot:
        raise InvalidArgument("cannot have stream=true and one-shot=true")
    view = await engine.containers.inspect(engine.tenant, call.params["name"])
    sampler = _Sampler(call, view)
    if stream:
        return StreamResponse(sampler.forever(), content_type="application/json")
    sample = await sampler.take()
    if not one_shot and "cpu_stats" in sample and sample["read"] != ZERO_TIME:
        await asyncio.sleep(_INTERVAL)
        sample = await sampler.take()
    return json_response(sample)


class _Sampler:
    """Samples of one container; each carries the CPU figures of the one before."""

    def __init__(self, call: Call, view: ContainerView) -> None:
        self._engine = call.app
        self._id = view.id
        self._name = f"/{view.name}"
        self._cpu: Json = _NO_CPU
        self._read = ZERO_TIME

    async def take(self) -> Json:
        raw = await self._engine.containers.stats(self._engine.tenant, self._id)
        read = rfc3339(time.time_ns()) if raw else ZERO_TIME
        sample = {
            "name": self._name,
            "id": self._id,
            "read": read,
            "preread": self._read,
            "precpu_stats": self._cpu,
            "num_procs": 0,
            "storage_stats": {},
            **stats_json(raw),
        }
        self._cpu, self._read = sample["cpu_stats"], read
        return sample

    async def forever(self) -> AsyncIterator[bytes]:
        """A sample a second until the container is gone."""
        while True:
            try:
                sample = await self.take()
            except HypercellError:
                return
            yield encode(sample)
            await asyncio.sleep(_INTERVAL)


def stats_json(raw: Mapping[str, Any]) -> Json:
    """The agent's `container.stats` in docker's words; empty figures for a container that does not run."""
    if not raw:
        return {
            "cpu_stats": _NO_CPU,
            "memory_stats": {},
            "pids_stats": {},
            "blkio_stats": {"io_service_bytes_recursive": None, **dict.fromkeys(_BLOCK_IO)},
        }
    return {
        "cpu_stats": _cpu(raw),
        "memory_stats": _memory(raw),
        "pids_stats": _without_zeros({key: _number(_object(raw, "pids"), key) for key in ("current", "limit")}),
        "blkio_stats": _block_io(raw),
        "networks": _networks(raw),
    }


def _cpu(raw: Mapping[str, Any]) -> Json:
    cpu = _object(raw, "cpu")
    return {
        "cpu_usage": {
            "total_usage": _number(cpu, "usage_ns"),
            "usage_in_kernelmode": _number(cpu, "system_ns"),
            "usage_in_usermode": _number(cpu, "user_ns"),
        },
        "system_cpu_usage": _number(raw, "system_cpu_ns"),
        "online_cpus": _number(raw, "cpus"),
        "throttling_data": {
            "periods": _number(cpu, "periods"),
            "throttled_periods": _number(cpu, "throttled"),
            "throttled_time": _number(cpu, "throttled_ns"),
        },
    }


def _memory(raw: Mapping[str, Any]) -> Json:
    memory = _object(raw, "memory")
    fields = _object(memory, "fields")
    details = {name: _number(fields, name) for name in list(fields)[:200]}
    return {
        "usage": _number(memory, "usage"),
        "stats": {"inactive_file": _number(memory, "inactive_file"), **details},
        "limit": _number(memory, "limit") or _number(raw, "memory_total"),
    }


def _block_io(raw: Mapping[str, Any]) -> Json:
    entries: list[Json] = []
    operations: list[Json] = []
    for device in _list(raw, "io"):
        where = {"major": _number(device, "major"), "minor": _number(device, "minor")}
        entries += [where | {"op": "read", "value": _number(device, "rbytes")}]
        entries += [where | {"op": "write", "value": _number(device, "wbytes")}]
        operations += [where | {"op": "read", "value": _number(device, "rios")}]
        operations += [where | {"op": "write", "value": _number(device, "wios")}]
    empty: Json = dict.fromkeys(_BLOCK_IO)
    return {"io_service_bytes_recursive": entries} | empty | {"io_serviced_recursive": operations}


def _networks(raw: Mapping[str, Any]) -> Json:
    counters = [f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")]
    return {
        str(interface.get("name", ""))[:32]: {counter: _number(interface, counter) for counter in counters}
        for interface in _list(raw, "interfaces")
        if interface.get("name") != "lo"
    }


# What a guest says has any shape it likes.


def _number(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    return value if type(value) is int and 0 <= value < 1 << 64 else 0


def _object(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(values: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = values.get(key)
    return [item for item in value[:64] if isinstance(item, Mapping)] if isinstance(value, list) else []


def _without_zeros(values: Json) -> Json:
    return {key: value for key, value in values.items() if value}
