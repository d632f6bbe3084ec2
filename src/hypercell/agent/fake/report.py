# SPDX-License-Identifier: Apache-2.0
"""`container.stats` and `container.processes` of a fake guest: plausible, constant figures."""

from __future__ import annotations

from typing import Any

from hypercell.agent.fake.process import Container

_MIB = 1024 * 1024
_TRAFFIC = " ".join(f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped"))


def _zero(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), 0)


def _limit(container: Container, *path: str) -> int:
    """A limit of the container's resources; 0 for none."""
    value: Any = container.resources
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def stats(container: Container) -> dict[str, Any]:
    usage = 4 * _MIB * len(container.running())
    interfaces = container.guest.configuration.get("interfaces", [])
    return {
        "cpu": dict.fromkeys(("usage_ns", "user_ns", "system_ns"), 10**6) | _zero("periods throttled throttled_ns"),
        "memory": {
            **_zero("file inactive_file"),
            "usage": usage,
            "max_usage": usage,
            "anon": usage,
            "limit": _limit(container, "memory", "limit"),
            "oom_kills": container.oom_kills,
            "fields": {"anon": usage, "file": 0},
        },
        "pids": {"current": len(container.running()), "limit": _limit(container, "pids", "limit")},
        "io": [{"major": 254, "minor": 0, **_zero("rbytes wbytes rios wios")}],
        "interfaces": [{"name": each.get("name", "eth0"), **_zero(_TRAFFIC)} for each in interfaces],
        "cpus": 1,
        "system_cpu_ns": 10**9,
        "memory_total": 128 * _MIB,
    }


def processes(container: Container) -> dict[str, Any]:
    rows = [
        {
            **_zero("ppid uid gid ruid rgid cpu_ticks start_ticks flags nice processor"),
            **dict.fromkeys(("pid", "pgid", "sid"), 1 if process.name == "init" else process.pid),
            "tpgid": -1,
            "priority": 20,
            "threads": 1,
            "vsz": 8 * _MIB,
            "rss": 4 * _MIB,
            "comm": process.args[0].rpartition("/")[2][:15],
            "args": process.args,
            "tty": "pts/0" if process.terminal else "?",
            "state": "S",
        }
        for process in container.running()
    ]
    return {"processes": rows, "uptime_ns": 10**9, "ticks_per_second": 100, "memory_total": 128 * _MIB}
