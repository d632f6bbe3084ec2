# SPDX-License-Identifier: Apache-2.0
"""Registries: push, login, logout."""

from __future__ import annotations

import sys

import click

from hypercell.cli import credentials, progress
from hypercell.cli.client import Client, quote
from hypercell.cli.output import warn
from hypercell.cli.parse import name_and_tag


@click.command("push")
@click.option("-a", "--all-tags", is_flag=True, help="All tags of the repository.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.argument("image")
@click.pass_obj
def push_command(client: Client, image: str, all_tags: bool, quiet: bool) -> None:
    """Send an image to the registry that its name begins with.

    \b
    hypercell tag box localhost:5000/box:1
    hypercell push localhost:5000/box:1
    """
    name, tag = name_and_tag(image)
    if tag and all_tags:
        raise click.ClickException("tag can't be used with --all-tags/-a")
    if not tag and not all_tags:
        tag = "latest"
        if not quiet:
            click.echo("Using default tag: latest")
    headers = credentials.header(name)
    lines = client.lines("POST", f"/images/{quote(name)}/push", {"tag": tag}, headers=headers)
    progress.show(lines, quiet=quiet)
    if quiet:
        click.echo(image)


@click.command("login")
@click.option("-u", "--username", default="", help="Who you are there.")
@click.option("-p", "--password", default="", help="Better left away: others may read a command line.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.argument("server", default="")
@click.pass_obj
def login_command(client: Client, username: str, password: str, password_stdin: bool, server: str) -> None:
    """Log in to a registry, and keep the credentials where docker keeps them.

    \b
    hypercell login localhost:5000
    hypercell login -u me --password-stdin localhost:5000 < secret
    """
    auth = _credentials(username, password, password_stdin, server)
    answer = client.call("POST", "/auth", body=auth)
    if token := answer.get("IdentityToken"):
        auth["identitytoken"] = token
    if file := credentials.keep(auth):
        warn(f"WARNING! Your credentials are stored unencrypted in '{file}'. A credential helper would encrypt them.")
    click.echo(answer["Status"])


def _credentials(username: str, password: str, password_stdin: bool, server: str) -> credentials.Auth:
    if password and password_stdin:
        raise click.UsageError("--password and --password-stdin are mutually exclusive")
    if password:
        warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if password_stdin:
        if not username:
            raise click.UsageError("Must provide --username with --password-stdin")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not username and not password and (known := credentials.find(server)):
        click.echo("Authenticating with existing credentials...")
        return known
    if not (username and password):
        if not sys.stdin.isatty():
            raise click.ClickException("Cannot perform an interactive login from a non TTY device")
        username = username or click.prompt("Username")
        password = click.prompt("Password", hide_input=True)
    return {"username": username, "password": password, "serveraddress": credentials.key_of(server)}


@click.command("logout")
@click.argument("server", default="")
def logout_command(server: str) -> None:
    """Forget the credentials for a registry.

    \b
    hypercell logout localhost:5000
    """
    key = credentials.key_of(server)
    click.echo(f"Removing login credentials for {key}" if credentials.forget(server) else f"Not logged in to {key}")
