# SPDX-License-Identifier: Apache-2.0
"""`top`."""

from __future__ import annotations

import click

from hypercell.cli import output
from hypercell.cli.client import Client, quote


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
