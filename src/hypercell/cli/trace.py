# SPDX-License-Identifier: Apache-2.0
"""Where the time of a container's last start went, for people: `inspect --trace`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from hypercell.cli import output

_WIDTH = 48
_WAYS = {"cold": "by a boot", "template": "from a template", "pool": "from the pool"}


def show(container: Mapping[str, Any]) -> None:
    """One line of words, then a table of steps with a bar each, drawn against the time from begin to end."""
    name = output.printable(str(container["Name"]).removeprefix("/"))
    about = container.get("Hypercell") or {}
    if waiting := about.get("Waiting"):
        since = output.ago(output.seconds(waiting["Since"]))
        click.echo(f"{name} waits to start, since {since}, at place {waiting['Position']}: {waiting['Reason']}")
        return
    trace = about.get("Trace")
    if not trace:
        click.echo(f"{name} was not started since the daemon was")
        return
    click.echo(_headline(name, trace))
    lines = [("STEP", "START", "TOOK", "")]
    total = max(trace["Total"], *(step["Start"] + step["Took"] for step in trace["Steps"]), 0.01)
    for step in trace["Steps"]:
        start, took = step["Start"], step["Took"]
        lines.append((step["Name"], f"{start:.2f}", f"{took:.2f}", _bar(start / total, took / total)))
    output.table(lines)


def _headline(name: str, trace: Mapping[str, Any]) -> str:
    if trace["Failed"]:
        return f"{name} failed to start ({trace['Failed']}) after {trace['Total']:.2f} ms"
    if not trace["Total"]:
        return f"{name} is starting"
    note = f" ({output.printable(trace['Note'])})" if trace["Note"] else ""
    return f"{name} started in {trace['Total']:.2f} ms {_WAYS.get(trace['Way'], trace['Way'])}{note}"


def _bar(start: float, took: float) -> str:
    """Both as shares of the whole."""
    first = min(_WIDTH - 1, int(start * _WIDTH))
    return " " * first + "#" * min(_WIDTH - first, max(1, round(took * _WIDTH)))
