# SPDX-License-Identifier: Apache-2.0
"""`attach`, and what every command that joins a terminal to a container needs."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from typing import Any

import click

from hypercell.cli import terminal
from hypercell.cli.client import ApiError, Client, lost, quote
from hypercell.cli.exit import Exit
from hypercell.cli.options import DETACH_KEYS, SIG_PROXY
from hypercell.cli.output import warn


def open_attach(client: Client, name: str, stdin: bool, is_tty: bool, keys: bytes) -> terminal.Session:
    query = {"stream": True, "stdin": stdin, "stdout": True, "stderr": True}
    connection, early, _ = client.hijack(f"/containers/{quote(name)}/attach", query)
    return terminal.Session(connection, early, not is_tty, keys)


def converse(
    client: Client, resource: str, session: terminal.Session, stdin: bool, is_tty: bool, sig_proxy: bool = False
) -> None:
    """Join our terminal and *session* until it ends.

    *resource* is the path of a container or an exec, which is told the window's size and, with *sig_proxy*, our
    signals. In a raw terminal keys are no signals, so none are passed on.
    """

    def resize(rows: int, columns: int) -> None:
        with contextlib.suppress(ApiError):
            client.call("POST", f"{resource}/resize", {"h": rows, "w": columns})

    def send(name: str) -> None:
        with contextlib.suppress(ApiError):
            client.call("POST", f"{resource}/kill", {"signal": name})

    on_terminal = is_tty and terminal.stdin_is_tty()
    is_raw = on_terminal and stdin
    with (
        terminal.resizing(on_terminal, resize),
        terminal.forwarding(sig_proxy and not is_raw, send),
        terminal.raw_mode(is_raw),
    ):
        session.run(stdin, is_tty)


class Waiter:
    """Waits for the end of a container on a connection of its own, begun before the container starts."""

    def __init__(self, client: Client, identifier: str, condition: str) -> None:
        self._answer = client.open("POST", f"/containers/{quote(identifier)}/wait", {"condition": condition})
        self._value: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            self._value = json.loads(self._answer.read())

    def result(self) -> int:
        """The exit code; 125 with the reason on stderr when the daemon could not tell. Raises `ApiError` without it."""
        while self._thread.is_alive():
            self._thread.join(0.5)  # in slices: a signal handler runs between them
        if not self._value:
            raise lost()
        error = (self._value.get("Error") or {}).get("Message")
        if error:
            warn(f"hypercell: {error}")
        return int(self._value.get("StatusCode", 125))


@click.command("attach")
@click.option("--no-stdin", is_flag=True, help="Do not give it our stdin.")
@SIG_PROXY
@DETACH_KEYS
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
    converse(client, f"/containers/{quote(container)}", session, stdin, is_tty, sig_proxy)
    raise Exit(0 if session.detached else ended.result())
