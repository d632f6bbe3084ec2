# SPDX-License-Identifier: Apache-2.0
"""`logs`."""

from __future__ import annotations

import click

from hypercell.cli import output
from hypercell.cli.client import Client, quote
from hypercell.cli.options import time_query


@click.command("logs")
@click.option("-f", "--follow", is_flag=True, help="Go on as more comes.")
@click.option("--since", help="From then on: 10m, or a time.")
@click.option("--until", help="Up to then.")
@click.option("-n", "--tail", default="all", show_default=True, help="The last N lines.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@click.option("--details", is_flag=True, help="Show what its log options tell of it before each line.")
@click.argument("container")
@click.pass_obj
def logs_command(
    client: Client,
    container: str,
    follow: bool,
    since: str | None,
    until: str | None,
    tail: str,
    timestamps: bool,
    details: bool,
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
        "details": details,
    }
    answer = client.open("GET", f"/containers/{quote(container)}/logs", query)
    if is_tty:
        while data := answer.read1(65536):
            output.raw(1, data)
        return
    while header := answer.read(8):
        stream, length = header[0], int.from_bytes(header[4:], "big")
        output.raw(stream, answer.read(length))
