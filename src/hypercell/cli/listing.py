# SPDX-License-Identifier: Apache-2.0
"""What there is and how it fares: ps, logs, top, stats, inspect."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import click

from hypercell.cli import output
from hypercell.cli.client import ApiError, Client, quote
from hypercell.cli.exit import Exit

FORMAT = click.option("--format", "template", metavar="table|json|TEMPLATE", help="How to print it.")
FILTER = click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only matching ones.")

_PS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}


def filter_query(values: tuple[str, ...]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for value in values:
        key, equals, wanted = value.partition("=")
        if not equals:
            raise click.UsageError(f"invalid filter {value!r}: write it as key=value")
        result.setdefault(key, []).append(wanted)
    return result


def time_query(text: str | None) -> str | None:
    """A Unix time, RFC 3339, or a span back from now (`10m`, `1h30m`) as what the API takes."""
    if not text:
        return None
    total, number = 0.0, ""
    for character in text:
        if character.isdigit() or character == ".":
            number += character
        elif character in "smhd" and number:
            total += float(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[character]
            number = ""
        else:
            break
    else:
        return text if number else f"{time.time() - total:.9f}"
    try:
        return f"{output.seconds(text):.9f}"
    except ValueError:
        raise click.UsageError(f"invalid time {text!r}: use 10m, 2026-01-31T12:00:00Z or Unix seconds") from None


@click.command("ps")
@click.option("-a", "--all", "everything", is_flag=True, help="Stopped ones too.")
@click.option("-n", "--last", type=int, default=-1, help="The last N created.")
@click.option("-l", "--latest", is_flag=True, help="The last created.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@click.option("-s", "--size", is_flag=True, help="Show sizes.")
@click.option("--no-trunc", is_flag=True, help="Do not shorten anything.")
@FILTER
@FORMAT
@click.pass_obj
def ps_command(
    client: Client,
    everything: bool,
    last: int,
    latest: bool,
    quiet: bool,
    size: bool,
    no_trunc: bool,
    filters: tuple[str, ...],
    template: str | None,
) -> None:
    """List containers.

    \b
    hypercell ps -a
    hypercell ps --filter status=exited --format json
    """
    limit = 1 if latest else last
    query = {
        "all": everything or limit > 0,
        "limit": limit if limit > 0 else None,
        "size": size,
        "filters": filter_query(filters),
    }
    found = client.call("GET", "/containers/json", query)
    columns = {**_PS, **({"Size": "SIZE"} if size else {})}
    output.rows([_ps_row(item, no_trunc) for item in found], columns, template, "ID" if quiet else None)


def _ps_row(item: dict[str, Any], full: bool) -> dict[str, Any]:
    command = str(item["Command"])
    row = {
        "ID": item["Id"] if full else item["Id"][:12],
        "Image": item["Image"],
        "Command": '"' + (command if full or len(command) <= 20 else command[:19] + "…") + '"',
        "CreatedAt": datetime.fromtimestamp(item["Created"], UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
        "RunningFor": output.ago(item["Created"]),
        "State": item["State"],
        "Status": item["Status"],
        "Ports": ", ".join(sorted({_port(port) for port in item.get("Ports") or ()})),
        "Names": ",".join(name.lstrip("/") for name in item["Names"]),
        "Labels": ",".join(f"{key}={value}" for key, value in (item.get("Labels") or {}).items()),
        "Networks": ",".join((item.get("NetworkSettings") or {}).get("Networks") or {}),
        "Mounts": "",
        "Size": "",
    }
    if "SizeRootFs" in item:
        written = output.size(item.get("SizeRw", 0))
        row["Size"] = f"{written} (virtual {output.size(item['SizeRootFs'])})"
    return row


def _port(port: dict[str, Any]) -> str:
    inside = f"{port['PrivatePort']}/{port['Type']}"
    return f"{port.get('IP', '')}:{port['PublicPort']}->{inside}" if port.get("PublicPort") else inside


@click.command("logs")
@click.option("-f", "--follow", is_flag=True, help="Go on as more comes.")
@click.option("--since", help="From then on: 10m, or a time.")
@click.option("--until", help="Up to then.")
@click.option("-n", "--tail", default="all", show_default=True, help="The last N lines.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@click.argument("container")
@click.pass_obj
def logs_command(
    client: Client, container: str, follow: bool, since: str | None, until: str | None, tail: str, timestamps: bool
) -> None:
    """Show what a container wrote, whether it runs or not.

    \b
    hypercell logs -f --tail 100 web
    hypercell logs --since 10m web
    """
    is_tty = client.call("GET", f"/containers/{quote(container)}/json")["Config"]["Tty"]
    query = {
        "stdout": True,
        "stderr": True,
        "follow": follow,
        "since": time_query(since),
        "until": time_query(until),
        "tail": tail,
        "timestamps": timestamps,
    }
    answer = client.open("GET", f"/containers/{quote(container)}/logs", query)
    if is_tty:
        while data := answer.read1(65536):
            output.raw(1, data)
        return
    while header := answer.read(8):
        stream, length = header[0], int.from_bytes(header[4:], "big")
        output.raw(stream, answer.read(length))


@click.command("top", context_settings={"ignore_unknown_options": True})
@click.argument("container")
@click.argument("ps_options", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def top_command(client: Client, container: str, ps_options: tuple[str, ...]) -> None:
    """Show the processes of a container.

    \b
    hypercell top web
    """
    query = {"ps_args": " ".join(ps_options)}
    found = client.call("GET", f"/containers/{quote(container)}/top", query)
    output.table([found["Titles"], *([output.printable(cell) for cell in row] for row in found["Processes"])])


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
        names = containers or tuple(item["Id"] for item in client.call("GET", "/containers/json", {"all": everything}))
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
        "PIDs": (now.get("pids_stats") or {}).get("current", 0),
    }


def _cpu(now: dict[str, Any]) -> float:
    new, old = now.get("cpu_stats") or {}, now.get("precpu_stats") or {}

    def delta(path: str) -> float:
        first, _, second = path.partition(".")
        values = [(stats.get(first) or {}).get(second, 0) if second else stats.get(first, 0) for stats in (new, old)]
        return float(values[0] - values[1])

    system = delta("system_cpu_usage")
    return delta("cpu_usage.total_usage") / system * new.get("online_cpus", 1) * 100 if system > 0 else 0.0


@click.command("inspect")
@click.option("--type", "kind", type=click.Choice(["container", "image"]), help="Look only at these.")
@click.option("-s", "--size", is_flag=True, help="Sizes of containers too.")
@click.option("-f", "--format", "template", metavar="json|TEMPLATE", help="Print only this.")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def inspect_command(client: Client, names: tuple[str, ...], kind: str | None, size: bool, template: str | None) -> None:
    """Show everything about containers or images, as JSON.

    \b
    hypercell inspect web
    hypercell inspect -f '{{.State.Status}}' web
    """
    found: list[Any] = []
    missing = False
    for name in names:
        value = _inspect(client, name, kind, size)
        if value is None:
            output.warn(f"Error: No such {kind or 'object'}: {name}")
            missing = True
        else:
            found.append(value)
    if template and template != "json":
        for value in found:
            click.echo(output.render(template, value))
    else:
        click.echo(json.dumps(found, indent=None if template else 4))
    if missing:
        raise Exit(1)


def _inspect(client: Client, name: str, kind: str | None, size: bool) -> Any:
    for candidate, path in (("container", f"/containers/{quote(name)}/json"), ("image", f"/images/{quote(name)}/json")):
        if kind in (None, candidate):
            try:
                return client.call("GET", path, {"size": size and candidate == "container"})
            except ApiError as error:
                if error.status != 404:
                    raise
    return None
