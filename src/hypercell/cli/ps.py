# SPDX-License-Identifier: Apache-2.0
"""`ps`."""

from __future__ import annotations

from typing import Any

import click

from hypercell.cli import output
from hypercell.cli.client import Client
from hypercell.cli.options import FILTER, FORMAT, filter_query

_PS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}


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
    hypercell ps --filter health=unhealthy
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
        "CreatedAt": output.moment(item["Created"]),
        "RunningFor": output.ago(item["Created"]),
        "State": item["State"],
        "Status": item["Status"],
        "Ports": ", ".join(sorted({_port(port) for port in item.get("Ports") or ()})),
        "Names": ",".join(name.lstrip("/") for name in item["Names"]),
        "Labels": ",".join(f"{key}={value}" for key, value in (item.get("Labels") or {}).items()),
        "Networks": ",".join((item.get("NetworkSettings") or {}).get("Networks") or {}),
        "Mounts": "",
        "LocalVolumes": "0",
        "Platform": None,
        "Size": "0B",
    }
    if "SizeRootFs" in item:
        written = output.size(item.get("SizeRw", 0))
        row["Size"] = f"{written} (virtual {output.size(item['SizeRootFs'])})"
    return row


def _port(port: dict[str, Any]) -> str:
    inside = f"{port['PrivatePort']}/{port['Type']}"
    return f"{port.get('IP', '')}:{port['PublicPort']}->{inside}" if port.get("PublicPort") else inside
