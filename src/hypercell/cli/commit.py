# SPDX-License-Identifier: Apache-2.0
"""An image of a container: commit."""

from __future__ import annotations

import click

from hypercell.cli.client import Client, Query


@click.command("commit")
@click.option("-a", "--author", default="", help="Who made it.")
@click.option("-c", "--change", "changes", multiple=True, help="A Dockerfile instruction, such as 'CMD [\"web\"]'.")
@click.option("-m", "--message", default="", help="What was done.")
@click.option("-p", "--pause/--no-pause", default=True, help="Pause the container meanwhile.", show_default=True)
@click.argument("container")
@click.argument("name", required=False, default="")
@click.pass_obj
def commit_command(
    client: Client, author: str, changes: tuple[str, ...], message: str, pause: bool, container: str, name: str
) -> None:
    """Make an image of what a container has changed.

    \b
    hypercell commit -m 'with curl' web web:curl
    """
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    query: Query = {
        "container": container,
        "repo": repository,
        "tag": tag,
        "comment": message,
        "author": author,
        "pause": pause,
        "changes": list(changes),
    }
    click.echo(client.call("POST", "/commit", query, {})["Id"])
