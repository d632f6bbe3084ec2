# SPDX-License-Identifier: Apache-2.0
"""`exec`."""

from __future__ import annotations

from typing import Any

import click

from hypercell.cli import parse, terminal
from hypercell.cli.attach import converse
from hypercell.cli.client import ApiError, Client, quote
from hypercell.cli.exit import Exit, start_failure
from hypercell.cli.options import DETACH_KEYS
from hypercell.cli.output import warn


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("-i", "--interactive", is_flag=True, help="Give it our stdin.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-d", "--detach", is_flag=True, help="Let it run in the background.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="User name or id.")
@click.option("-w", "--workdir", default="", help="Working directory inside.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set an environment variable.")
@click.option("--env-file", multiple=True, metavar="FILE", help="Read environment variables from a file.")
@click.option("--privileged", is_flag=True, help="All capabilities.")
@DETACH_KEYS
@click.argument("container")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def exec_command(client: Client, /, container: str, command: tuple[str, ...], detach: bool, **options: Any) -> None:
    """Run another command in a running container.

    \b
    hypercell exec web nginx -s reload
    hypercell exec -it web sh
    """
    is_tty, stdin = options["tty"], options["interactive"] and not detach
    if is_tty and stdin and not terminal.stdin_is_tty():
        raise click.ClickException("the input device is not a TTY")
    body = {
        "AttachStdin": stdin,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "Tty": is_tty,
        "Cmd": list(command),
        "Env": parse.environment(options["env"], options["env_file"]),
        "User": options["user"],
        "WorkingDir": options["workdir"],
        "Privileged": options["privileged"],
    }
    identifier = client.call("POST", f"/containers/{quote(container)}/exec", body=body)["Id"]
    start: dict[str, Any] = {"Detach": detach, "Tty": is_tty}
    if is_tty and terminal.stdin_is_tty():
        start["ConsoleSize"] = list(terminal.console_size())
    try:
        if detach:
            client.call("POST", f"/exec/{identifier}/start", body=start)
            return
        connection, early, _ = client.hijack(f"/exec/{identifier}/start", body=start)
    except ApiError as error:
        warn(error.said)
        code = start_failure(error.message)
        raise Exit(1 if code == 125 else code) from None
    session = terminal.Session(connection, early, not is_tty, terminal.detach_sequence(options["detach_keys"]))
    converse(client, f"/exec/{identifier}", session, stdin, is_tty)
    if session.detached:
        raise Exit(0)
    raise Exit(client.call("GET", f"/exec/{identifier}/json")["ExitCode"] or 0)
