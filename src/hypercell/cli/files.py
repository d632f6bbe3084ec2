# SPDX-License-Identifier: Apache-2.0
"""A container's files: diff, export."""

from __future__ import annotations

import click

from hypercell.cli import output
from hypercell.cli.archives import check_target, write_archive
from hypercell.cli.client import Client, quote

_LETTERS = "CAD"


@click.command("diff")
@click.argument("container")
@click.pass_obj
def diff_command(client: Client, container: str) -> None:
    """Show what was changed in a container's files: A added, C changed, D deleted.

    \b
    hypercell diff web
    """
    for change in client.call("GET", f"/containers/{quote(container)}/changes") or []:
        path = output.printable(change["Path"]).replace("\n", r"\x0a")  # a line each, whatever it is called
        click.echo(f"{_LETTERS[change['Kind']]} {path}")


@click.command("export")
@click.option("-o", "--output", "target", type=click.Path(), help="A file instead of stdout.")
@click.argument("container")
@click.pass_obj
def export_command(client: Client, target: str | None, container: str) -> None:
    """Write a container's files to a tar.

    \b
    hypercell export -o web.tar web
    """
    check_target(target)
    write_archive(client.open("GET", f"/containers/{quote(container)}/export"), target)
