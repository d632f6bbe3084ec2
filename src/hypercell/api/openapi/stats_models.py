# SPDX-License-Identifier: Apache-2.0
"""What a container uses."""

from __future__ import annotations

from hypercell.api.openapi.schema import INTEGER, NOTHING, TEXT, TIME, Schema, listed, mapped, maybe, one_of, record

_CPU = record(
    {
        "cpu_usage": record(dict.fromkeys(("total_usage", "usage_in_kernelmode", "usage_in_usermode"), INTEGER)),
        "throttling_data": record(dict.fromkeys(("periods", "throttled_periods", "throttled_time"), INTEGER)),
    },
    {"system_cpu_usage": INTEGER, "online_cpus": INTEGER},
)
_IO = maybe(
    listed(record({"major": INTEGER, "minor": INTEGER, "op": one_of("read", "write"), "value": INTEGER})),
)
_NEVER = ("queue", "service_time", "wait_time", "merged", "time")
_BLOCK_IO = record(
    {"io_service_bytes_recursive": _IO, "io_serviced_recursive": _IO, "sectors_recursive": NOTHING}
    | {f"io_{name}_recursive": NOTHING for name in _NEVER}
)
_CARD = record({f"{way}_{what}": INTEGER for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")})
STATS: dict[str, Schema] = {
    "Stats": record(
        {
            "name": TEXT,
            "id": TEXT,
            "read": TIME,
            "preread": TIME,
            "precpu_stats": _CPU,
            "cpu_stats": _CPU,
            "num_procs": INTEGER,
            "storage_stats": {"type": "object"},
            "memory_stats": record({}, {"usage": INTEGER, "stats": mapped(INTEGER), "limit": INTEGER}),
            "pids_stats": record({}, {"current": INTEGER, "limit": INTEGER}),
            "blkio_stats": _BLOCK_IO,
        },
        {"networks": mapped(_CARD)},
    )
}
