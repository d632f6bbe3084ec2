# SPDX-License-Identifier: Apache-2.0
"""Verbs that act on containers that exist: start, stop, kill, restart, pause, unpause, wait, rm, rename."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from hypercell.cli import terminal
from hypercell.cli.attach import Waiter, converse, open_attach
from hypercell.cli.client import ApiError, Client, lost, quote
from hypercell.cli.exit import Exit, start_failure
from hypercell.cli.options import DETACH_KEYS, SIG_PROXY
from hypercell.cli.output import warn

_NAMES = click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")


def each(names: tuple[str, ...], act: Callable[[str], Any], may_be_missing: bool = False) -> None:
    """Do *act* to every one, print the names of those that it worked for; exit 1 if any failed.

    What *may_be_missing* is said to be missing, and is no failure.
    """
    failed = False
    for name in names:
        try:
            act(name)
        except ApiError as error:
            warn(error.said)
            failed = failed or not (may_be_missing and error.status == 404)
        else:
            click.echo(name)
    if failed:
        raise Exit(1)


def _post(client: Client, container: str, verb: str, /, **query: Any) -> None:
    client.call("POST", f"/containers/{quote(container)}/{verb}", query)


@click.command("start")
@click.option("-a", "--attach", is_flag=True, help="Show its output and wait for its end.")
@click.option("-i", "--interactive", is_flag=True, help="Give it our stdin too.")
@DETACH_KEYS
@SIG_PROXY
@_NAMES
@click.pass_obj
def start_command(
    client: Client, containers: tuple[str, ...], attach: bool, interactive: bool, detach_keys: str, sig_proxy: bool
) -> None:
    """Start stopped containers. They keep what they wrote.

    \b
    hypercell start web
    hypercell start -ai shell
    """
    if not (attach or interactive):
        each(containers, lambda name: _post(client, name, "start"))
        return
    if len(containers) > 1:
        raise click.UsageError("you cannot start and attach multiple containers at once")
    (name,) = containers
    config = client.call("GET", f"/containers/{quote(name)}/json")["Config"]
    stdin = interactive and config["OpenStdin"]
    session = open_attach(client, name, stdin, config["Tty"], terminal.detach_sequence(detach_keys))
    ended = Waiter(client, name, "next-exit")
    try:
        _post(client, name, "start")
    except ApiError as error:
        warn(error.said)
        raise Exit(start_failure(error.message)) from None
    converse(client, f"/containers/{quote(name)}", session, stdin, config["Tty"], sig_proxy)
    raise Exit(0 if session.detached else ended.result())


@click.command("stop")
@click.option("-t", "--time", "--timeout", "seconds", type=int, help="Seconds to wait before SIGKILL.")
@click.option("-s", "--signal", default="", help="Signal to send instead of its stop signal.")
@_NAMES
@click.pass_obj
def stop_command(client: Client, containers: tuple[str, ...], seconds: int | None, signal: str) -> None:
    """Stop running containers.

    \b
    hypercell stop -t 2 web
    """
    each(containers, lambda name: _post(client, name, "stop", t=seconds, signal=signal))


@click.command("restart")
@click.option("-t", "--time", "--timeout", "seconds", type=int, help="Seconds to wait before SIGKILL.")
@click.option("-s", "--signal", default="", help="Signal to send instead of its stop signal.")
@_NAMES
@click.pass_obj
def restart_command(client: Client, containers: tuple[str, ...], seconds: int | None, signal: str) -> None:
    """Stop and start containers.

    \b
    hypercell restart web
    """
    each(containers, lambda name: _post(client, name, "restart", t=seconds, signal=signal))


@click.command("kill")
@click.option("-s", "--signal", default="KILL", show_default=True, help="Name or number.")
@_NAMES
@click.pass_obj
def kill_command(client: Client, containers: tuple[str, ...], signal: str) -> None:
    """Send a signal to the main process of containers.

    \b
    hypercell kill -s HUP web
    """
    each(containers, lambda name: _post(client, name, "kill", signal=signal))


@click.command("pause")
@_NAMES
@click.pass_obj
def pause_command(client: Client, containers: tuple[str, ...]) -> None:
    """Freeze all processes of containers.

    \b
    hypercell pause web
    """
    each(containers, lambda name: _post(client, name, "pause"))


@click.command("unpause")
@_NAMES
@click.pass_obj
def unpause_command(client: Client, containers: tuple[str, ...]) -> None:
    """Let paused containers go on.

    \b
    hypercell unpause web
    """
    each(containers, lambda name: _post(client, name, "unpause"))


@click.command("wait")
@_NAMES
@click.pass_obj
def wait_command(client: Client, containers: tuple[str, ...]) -> None:
    """Wait until containers stop, then print their exit codes.

    \b
    hypercell wait job
    """
    failed = False
    for name in containers:
        try:
            ended = client.call("POST", f"/containers/{quote(name)}/wait")
            if not ended:
                raise lost()
            click.echo(ended["StatusCode"])
        except ApiError as error:
            warn(error.said)
            failed = True
    if failed:
        raise Exit(1)


@click.command("rm")
@click.option("-f", "--force", is_flag=True, help="Kill it first if it runs; no error if there is none.")
@click.option("-v", "--volumes", is_flag=True, help="Remove its anonymous volumes too.")
@_NAMES
@click.pass_obj
def rm_command(client: Client, containers: tuple[str, ...], force: bool, volumes: bool) -> None:
    """Remove containers with all they wrote.

    \b
    hypercell rm -f web
    """

    def remove(name: str) -> None:
        client.call("DELETE", f"/containers/{quote(name)}", {"force": force, "v": volumes})

    each(containers, remove, may_be_missing=force)


@click.command("rename")
@click.argument("container")
@click.argument("name")
@click.pass_obj
def rename_command(client: Client, container: str, name: str) -> None:
    """Give a container another name.

    \b
    hypercell rename web old-web
    """
    _post(client, container, "rename", name=name)
