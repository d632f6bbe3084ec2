# SPDX-License-Identifier: Apache-2.0
"""`inspect`."""

from __future__ import annotations

import json
from typing import Any

import click

from hypercell.cli import output, trace
from hypercell.cli.client import ApiError, Client, quote
from hypercell.cli.exit import Exit
from hypercell.cli.options import checked_template

_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}
"""In the order in which docker looks for a name."""


@click.command("inspect")
@click.option("--type", "kind", type=click.Choice(list(_PATHS)), help="Look only at these.")
@click.option("-s", "--size", is_flag=True, help="Sizes of containers too.")
@click.option("-f", "--format", "template", metavar="json|TEMPLATE", callback=checked_template, help="Print only this.")
@click.option("--trace", "traced", is_flag=True, help="Where the time of containers' last starts went, as a table.")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def inspect_command(
    client: Client, names: tuple[str, ...], kind: str | None, size: bool, template: str | None, traced: bool
) -> None:
    """Show everything about containers, images, networks or volumes, as JSON.

    \b
    hypercell inspect web
    hypercell inspect -f '{{.State.Status}}' web
    hypercell inspect --trace web
    """
    if traced:
        if template or kind not in (None, "container"):
            raise click.UsageError("--trace is for containers, and goes without --format")
        kind = "container"
    found: list[Any] = []
    missing = False
    for name in names:
        value = _inspect(client, name, kind, size)
        if value is None:
            output.warn(f"Error: No such {kind or 'object'}: {name}")
            missing = True
        else:
            found.append(value)
    if traced:
        for value in found:
            trace.show(value)
    else:
        _show(found, template)
    if missing:
        raise Exit(1)


def show_each(client: Client, path: str, names: tuple[str, ...], template: str | None) -> None:
    """What is at *path* for each of *names*; exit 1 if any could not be had."""
    found, failed = [], False
    for name in names:
        try:
            found.append(client.call("GET", path.format(quote(name))))
        except ApiError as error:
            output.warn(error.said)
            failed = True
    _show(found, template)
    if failed:
        raise Exit(1)


def _show(found: list[Any], template: str | None) -> None:
    if template and template != "json":
        for value in found:
            click.echo(output.render(template, value))
    else:
        click.echo(json.dumps(found, indent=None if template else 4))


def _inspect(client: Client, name: str, kind: str | None, size: bool) -> Any:
    for candidate, path in _PATHS.items():
        if kind in (None, candidate):
            try:
                return client.call("GET", path.format(quote(name)), {"size": size and candidate == "container"})
            except ApiError as error:
                if error.status != 404:
                    raise
    return None
