# SPDX-License-Identifier: Apache-2.0
"""`stats`."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from hypercell.cli import output
from hypercell.cli.client import ApiError, Client, quote
from hypercell.cli.options import FORMAT

_STATS = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}


@click.command("stats")
@click.option("-a", "--all", "everything", is_flag=True, help="Stopped ones too.")
@click.option("--no-stream", is_flag=True, help="Once, then end.")
@FORMAT
@click.argument("containers", nargs=-1)
@click.pass_obj
def stats_command(
    client: Client, containers: tuple[str, ...], everything: bool, no_stream: bool, template: str | None
) -> None:
    """Show what containers use, live.

    \b
    hypercell stats
    hypercell stats --no-stream --format json web
    """
    while True:
        names = containers or tuple(
            item["Id"][:12] for item in client.call("GET", "/containers/json", {"all": everything})
        )
        with ThreadPoolExecutor(max(1, min(16, len(names)))) as pool:
            found = [row for row in pool.map(lambda name: _stats_row(client, name, bool(containers)), names) if row]
        if not no_stream and sys.stdout.isatty():
            click.clear()
        output.rows(found, _STATS, template)
        if no_stream:
            return
        time.sleep(0.5)


def _stats_row(client: Client, name: str, must_exist: bool) -> dict[str, Any] | None:
    try:
        now = client.call("GET", f"/containers/{quote(name)}/stats", {"stream": "0"})
    except ApiError:
        if must_exist:
            raise
        return None
    memory = now.get("memory_stats") or {}
    used = memory.get("usage", 0) - (memory.get("stats") or {}).get("inactive_file", 0)
    limit = memory.get("limit", 0)
    networks = (now.get("networks") or {}).values()
    blocks = (now.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    received, sent = (sum(item[key] for item in networks) for key in ("rx_bytes", "tx_bytes"))
    read, written = (sum(item["value"] for item in blocks if item["op"].lower() == op) for op in ("read", "write"))
    return {
        "ID": now["id"][:12],
        "Container": name,
        "Name": now["name"].lstrip("/"),
        "CPUPerc": f"{_cpu(now):.2f}%",
        "MemUsage": f"{output.size(used, True)} / {output.size(limit, True)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{output.size(received)} / {output.size(sent)}",
        "BlockIO": f"{output.size(read)} / {output.size(written)}",
        "PIDs": str((now.get("pids_stats") or {}).get("current", 0)),
    }


def _cpu(now: dict[str, Any]) -> float:
    new, old = now.get("cpu_stats") or {}, now.get("precpu_stats") or {}

    def delta(path: str) -> float:
        first, _, second = path.partition(".")
        values = [(stats.get(first) or {}).get(second, 0) if second else stats.get(first, 0) for stats in (new, old)]
        return float(values[0] - values[1])

    system = delta("system_cpu_usage")
    return delta("cpu_usage.total_usage") / system * new.get("online_cpus", 1) * 100 if system > 0 else 0.0
