# SPDX-License-Identifier: Apache-2.0
"""`events`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from hypercell.cli import output
from hypercell.cli.client import Client
from hypercell.cli.options import FILTER, FORMAT, filter_query, time_query


@click.command("events")
@click.option("--since", help="From then on: 10m, or a time.")
@click.option("--until", help="Up to then, then end.")
@FILTER
@FORMAT
@click.pass_obj
def events_command(
    client: Client, since: str | None, until: str | None, filters: tuple[str, ...], template: str | None
) -> None:
    """Show what happens, as it happens.

    \b
    hypercell events --since 1h --filter event=die
    """
    query = {"since": time_query(since), "until": time_query(until), "filters": filter_query(filters)}
    for event in client.lines("GET", "/events", query):
        if template == "json":
            click.echo(json.dumps(event))
        elif template:
            click.echo(output.render(template, event))
        else:
            click.echo(output.printable(_event(event)))


def _event(event: dict[str, Any]) -> str:
    nanoseconds = event.get("timeNano", event["time"] * 10**9)
    when = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(event["Actor"]["Attributes"].items()))
    what = f"{event['Type']} {event['Action']} {event['Actor']['ID']}"
    return f"{when}.{nanoseconds % 10**9:09d}Z {what} ({attributes})"
