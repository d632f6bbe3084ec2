# SPDX-License-Identifier: Apache-2.0
"""`network`: create, ls, inspect, connect, disconnect, rm, prune."""

from __future__ import annotations

import json
from typing import Any

import click

from hypercell.cli import output, parse
from hypercell.cli.client import ApiError, Client, quote
from hypercell.cli.exit import Exit
from hypercell.cli.inspect import show_each
from hypercell.cli.options import FILTER, FORMAT, checked_template, filter_query

_COLUMNS = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"}


def endpoint(aliases: tuple[str, ...], address: str, mac: str) -> dict[str, Any]:
    """docker's `EndpointSettings`; empty where nothing is asked for."""
    wishes = {"Aliases": list(aliases), "IPAMConfig": {"IPv4Address": address} if address else None, "MacAddress": mac}
    return {key: value for key, value in wishes.items() if value}


@click.group("network")
def network_command() -> None:
    """Networks of your own, on which containers find each other by name.

    \b
    hypercell network create shop
    hypercell run -d --network shop --name db postgres
    hypercell run --rm --network shop busybox ping -c1 db
    """


@network_command.command("create")
@click.option("--subnet", default="", metavar="CIDR", help="Its addresses, such as 10.1.0.0/24; chosen otherwise.")
@click.option("--gateway", default="", metavar="IP", help="The host's address on it.")
@click.option("--ip-range", default="", metavar="CIDR", help="The part of the subnet that containers get theirs from.")
@click.option("--aux-address", multiple=True, metavar="NAME=IP", help="An address that no container gets.")
@click.option("--internal", is_flag=True, help="Nothing leads out of it, nor into it.")
@click.option("-o", "--opt", multiple=True, metavar="KEY=VALUE", help="Such as com.docker.network.driver.mtu=1400.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="Set a label.")
@click.option("-d", "--driver", default="bridge", metavar="DRIVER", help="bridge is the only one.")
@click.argument("name")
@click.pass_obj
def create_command(client: Client, /, name: str, **options: Any) -> None:
    """Make a network; prints its id.

    \b
    hypercell network create shop
    hypercell network create --subnet 10.1.0.0/24 --gateway 10.1.0.254 --internal backstage
    """
    asked = {
        "Subnet": options["subnet"],
        "Gateway": options["gateway"],
        "IPRange": options["ip_range"],
        "AuxiliaryAddresses": parse.pairs(options["aux_address"]),
    }
    config = {key: value for key, value in asked.items() if value}
    body = {
        "Name": name,
        "Driver": options["driver"],
        "Internal": options["internal"],
        "IPAM": {"Config": [config] if config else []},
        "Options": parse.pairs(options["opt"]),
        "Labels": parse.pairs(options["label"]),
    }
    click.echo(client.call("POST", "/networks/create", None, body)["Id"])


@network_command.command("ls")
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@click.option("--no-trunc", is_flag=True, help="Do not shorten ids.")
@FILTER
@FORMAT
@click.pass_obj
def ls_command(client: Client, quiet: bool, no_trunc: bool, filters: tuple[str, ...], template: str | None) -> None:
    """List networks.

    \b
    hypercell network ls --filter label=tier=front --format json
    """
    query = {"filters": json.dumps(filter_query(filters))} if filters else None
    rows = [
        {
            "ID": item["Id"] if no_trunc else item["Id"][:12],
            "Name": item["Name"],
            "Driver": item["Driver"],
            "Scope": item["Scope"],
            "Internal": item["Internal"],
            "Subnet": ", ".join(config["Subnet"] for config in item["IPAM"]["Config"] or ()),
            "Labels": ",".join(f"{key}={value}" for key, value in item["Labels"].items()),
        }
        for item in sorted(client.call("GET", "/networks", query), key=lambda item: str(item["Name"]))
    ]
    output.rows(rows, _COLUMNS, template, "ID" if quiet else None)


@network_command.command("inspect")
@click.option("-f", "--format", "template", metavar="json|TEMPLATE", callback=checked_template, help="Print only this.")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def inspect_command(client: Client, names: tuple[str, ...], template: str | None) -> None:
    """Show everything about networks, and who is on them, as JSON.

    \b
    hypercell network inspect shop
    """
    show_each(client, "/networks/{}", names, template)


@network_command.command("connect")
@click.option("--alias", multiple=True, metavar="NAME", help="A name more of the container's on this network.")
@click.option("--ip", default="", metavar="IP", help="Its address on it.")
@click.option("--mac-address", default="", metavar="MAC", help="Its MAC address, if it leads out by this network.")
@click.argument("network")
@click.argument("container")
@click.pass_obj
def connect_command(
    client: Client, network: str, container: str, alias: tuple[str, ...], ip: str, mac_address: str
) -> None:
    """Put a container onto a network more, while it runs too.

    \b
    hypercell network connect --alias www shop web
    """
    body = {"Container": container, "EndpointConfig": endpoint(alias, ip, mac_address)}
    client.call("POST", f"/networks/{quote(network)}/connect", None, body)


@network_command.command("disconnect")
@click.option("-f", "--force", is_flag=True, help="Accepted for docker's sake: nothing holds a container.")
@click.argument("network")
@click.argument("container")
@click.pass_obj
def disconnect_command(client: Client, network: str, container: str, force: bool) -> None:
    """Take a container off a network, while it runs too.

    \b
    hypercell network disconnect shop web
    """
    body = {"Container": container, "Force": force}
    client.call("POST", f"/networks/{quote(network)}/disconnect", None, body)


@network_command.command("rm")
@click.option("-f", "--force", is_flag=True, help="No error if there is none of that name.")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def rm_command(client: Client, names: tuple[str, ...], force: bool) -> None:
    """Remove networks that no container is on.

    \b
    hypercell network rm shop
    """
    failed = False
    for name in names:
        try:
            client.call("DELETE", f"/networks/{quote(name)}")
        except ApiError as error:
            if not (force and error.status == 404):
                output.warn(error.said)
                failed = True
        else:
            click.echo(name)
    if failed:
        raise Exit(1)


@network_command.command("prune")
@click.option("-f", "--force", is_flag=True, help="Do not ask first.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only matching ones.")
@click.pass_obj
def prune_command(client: Client, force: bool, filters: tuple[str, ...]) -> None:
    """Remove all networks that no container is on.

    \b
    hypercell network prune --filter until=24h
    """
    if not force:
        click.confirm("This will remove all networks that no container is on. Continue?", abort=True)
    prune(client, filter_query(filters))


def prune(client: Client, wanted: dict[str, list[str]]) -> None:
    """Prints the names of those that are gone."""
    removed = client.call("POST", "/networks/prune", {"filters": wanted})["NetworksDeleted"] or []
    if removed:
        click.echo("Deleted Networks:\n" + "\n".join(removed) + "\n")
