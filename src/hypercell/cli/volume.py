# SPDX-License-Identifier: Apache-2.0
"""`volume create`, `ls`, `inspect`, `rm` and `prune`."""

from __future__ import annotations

from typing import Any

import click

from hypercell.cli import output, parse
from hypercell.cli.client import Client, quote
from hypercell.cli.inspect import show_each
from hypercell.cli.lifecycle import each
from hypercell.cli.options import FILTER, FORMAT, checked_template, filter_query

_COLUMNS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}


@click.group("volume", invoke_without_command=True)
@click.pass_context
def volume_command(context: click.Context) -> None:
    """Volumes: disks of their own, which outlive containers.

    \b
    hypercell volume create data
    hypercell run --rm -v data:/data busybox touch /data/here
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@volume_command.command("create")
@click.option("-d", "--driver", default="local", show_default=True, help="There is one.")
@click.option("-l", "--label", multiple=True, metavar="KEY=VALUE", help="Set a label.")
@click.option("-o", "--opt", multiple=True, metavar="size=BYTES", help="How much it holds.")
@click.argument("name", default="", metavar="[VOLUME]")
@click.pass_obj
def create_command(client: Client, driver: str, label: tuple[str, ...], opt: tuple[str, ...], name: str) -> None:
    """Make a volume; prints its name. Without one, one is made up.

    \b
    hypercell volume create data
    hypercell volume create --label role=db -o size=2g db
    """
    body = {"Name": name, "Driver": driver, "Labels": parse.pairs(label), "DriverOpts": parse.pairs(opt)}
    click.echo(client.call("POST", "/volumes/create", body=body)["Name"])


@volume_command.command("ls")
@click.option("-q", "--quiet", is_flag=True, help="Only names.")
@FILTER
@FORMAT
@click.pass_obj
def ls_command(client: Client, quiet: bool, filters: tuple[str, ...], template: str | None) -> None:
    """List volumes.

    \b
    hypercell volume ls
    hypercell volume ls -q --filter dangling=true
    hypercell volume ls --format json
    """
    found = client.call("GET", "/volumes", {"filters": filter_query(filters)})
    output.rows([_row(item) for item in found["Volumes"] or ()], _COLUMNS, template, "Name" if quiet else None)


def _row(item: dict[str, Any]) -> dict[str, Any]:
    labels = ",".join(f"{key}={value}" for key, value in sorted((item["Labels"] or {}).items()))
    row = {name: item[name] for name in ("Driver", "Mountpoint", "Name", "Scope")}
    return {**row, "Labels": labels, **dict.fromkeys(("Availability", "Group", "Links", "Size", "Status"), "N/A")}


@volume_command.command("inspect")
@click.option("-f", "--format", "template", metavar="json|TEMPLATE", callback=checked_template, help="Print only this.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_obj
def inspect_command(client: Client, names: tuple[str, ...], template: str | None) -> None:
    """Show everything about volumes, as JSON.

    \b
    hypercell volume inspect data
    hypercell volume inspect -f '{{.CreatedAt}}' data
    """
    show_each(client, "/volumes/{}", names, template)


@volume_command.command("rm")
@click.option("-f", "--force", is_flag=True, help="No error if there is none.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_obj
def rm_command(client: Client, names: tuple[str, ...], force: bool) -> None:
    """Remove volumes that no container was made with, with all they hold.

    \b
    hypercell volume rm data
    """
    each(names, lambda name: client.call("DELETE", f"/volumes/{quote(name)}", {"force": force}))


@volume_command.command("prune")
@click.option("-a", "--all", "everything", is_flag=True, help="Those that somebody has named too.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only matching ones.")
@click.pass_obj
def prune_command(client: Client, everything: bool, force: bool, filters: tuple[str, ...]) -> None:
    """Remove the volumes that no container was made with: those that nobody has named, or all.

    \b
    hypercell volume prune -f
    hypercell volume prune --all --filter label=temporary
    """
    which = "all local volumes" if everything else "anonymous local volumes"
    if not (force or click.confirm(f"This will remove {which} not used by at least one container. Continue?")):
        return
    wanted = filter_query(filters)
    if everything:
        wanted["all"] = ["true"]
    click.echo(f"Total reclaimed space: {output.size(prune(client, wanted))}")


def prune(client: Client, wanted: dict[str, list[str]]) -> int:
    """Prints the names of those that are gone; the bytes that they took."""
    gone = client.call("POST", "/volumes/prune", {"filters": wanted})
    if gone["VolumesDeleted"]:
        click.echo("Deleted Volumes:\n" + "\n".join(gone["VolumesDeleted"]) + "\n")
    return int(gone["SpaceReclaimed"])
