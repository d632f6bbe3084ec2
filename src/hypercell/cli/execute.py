# SPDX-License-Identifier: Apache-2.0
"""`exec` and `attach`."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from hypercell.cli import parse, terminal
from hypercell.cli.client import ApiError, Client, quote
from hypercell.cli.exit import Exit
from hypercell.cli.output import warn
from hypercell.cli.run import Waiter, start_failure

_KEYS = click.option("--detach-keys", default="ctrl-p,ctrl-q", help="Keys that detach from a terminal.")


def open_attach(client: Client, name: str, stdin: bool, is_tty: bool, keys: bytes) -> terminal.Session:
    query = {"stream": True, "stdin": stdin, "stdout": True, "stderr": True}
    connection, early, _ = client.hijack(f"/containers/{quote(name)}/attach", query)
    return terminal.Session(connection, early, not is_tty, keys)


def converse(client: Client, resource: str, session: terminal.Session, stdin: bool, is_tty: bool) -> None:
    """Join our terminal and *session* until it ends; the window's size goes to *resource*/resize."""

    def resize(rows: int, columns: int) -> None:
        with contextlib.suppress(ApiError):
            client.call("POST", f"{resource}/resize", {"h": rows, "w": columns})

    on_terminal = is_tty and terminal.stdin_is_tty()
    with terminal.resizing(on_terminal, resize), terminal.raw_mode(on_terminal and stdin):
        session.run(stdin, is_tty)


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("-i", "--interactive", is_flag=True, help="Give it our stdin.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-d", "--detach", is_flag=True, help="Let it run in the background.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="User name or id.")
@click.option("-w", "--workdir", default="", help="Working directory inside.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set an environment variable.")
@click.option("--env-file", multiple=True, metavar="FILE", help="Read environment variables from a file.")
@click.option("--privileged", is_flag=True, help="All capabilities.")
@_KEYS
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
        warn(f"Error response from daemon: {error.message}")
        code = start_failure(error.message)
        raise Exit(1 if code == 125 else code) from None
    session = terminal.Session(connection, early, not is_tty, terminal.detach_sequence(options["detach_keys"]))
    converse(client, f"/exec/{identifier}", session, stdin, is_tty)
    if session.detached:
        raise Exit(0)
    raise Exit(client.call("GET", f"/exec/{identifier}/json")["ExitCode"] or 0)


@click.command("attach")
@click.option("--no-stdin", is_flag=True, help="Do not give it our stdin.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass our signals on to it.")
@_KEYS
@click.argument("container")
@click.pass_obj
def attach_command(client: Client, container: str, no_stdin: bool, sig_proxy: bool, detach_keys: str) -> None:
    """Join the terminal to a running container's main process.

    \b
    hypercell attach shell          (ctrl-p ctrl-q leaves it running)
    """
    details = client.call("GET", f"/containers/{quote(container)}/json")
    if not details["State"]["Running"]:
        raise click.ClickException("You cannot attach to a stopped container, start it first")
    if details["State"]["Paused"]:
        raise click.ClickException("You cannot attach to a paused container, unpause it first")
    is_tty = details["Config"]["Tty"]
    stdin = details["Config"]["OpenStdin"] and not no_stdin
    session = open_attach(client, container, stdin, is_tty, terminal.detach_sequence(detach_keys))
    ended = Waiter(client, container, "not-running")

    def send(name: str) -> None:
        with contextlib.suppress(ApiError):
            client.call("POST", f"/containers/{quote(container)}/kill", {"signal": name})

    with terminal.forwarding(sig_proxy and not is_tty, send):
        converse(client, f"/containers/{quote(container)}", session, stdin, is_tty)
    raise Exit(0 if session.detached else ended.result())
