# SPDX-License-Identifier: Apache-2.0
"""The groups, which module holds which command (loaded when it is called), and what every command ends with."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import sys

import click

import hypercell
from hypercell.cli.client import ApiError, Client, lost
from hypercell.cli.exit import NOT_RUN, Exit, refusal

_MODULES = {
    **{
        name: name
        for name in ("run", "exec", "attach", "ps", "logs", "top", "stats", "inspect", "events", "system", "volume")
    },
    **dict.fromkeys(("start", "stop", "kill", "restart", "pause", "unpause", "wait", "rm", "rename"), "lifecycle"),
    **dict.fromkeys(("images", "pull", "load", "save", "import", "tag", "rmi", "history"), "images"),
    "commit": "commit",
    "build": "build",
    **dict.fromkeys(("push", "login", "logout"), "registry"),
    **dict.fromkeys(("info", "version", "doctor"), "system"),
    **dict.fromkeys(("diff", "export"), "files"),
    "create": "run",
    "network": "network",
}
_DOCKERS_ALONE = frozenset({"container", "cp", "image", "port", "search", "update"})
"""What the daemon serves and this command has no word for."""
# fmt: off
_UNBUILT = frozenset({
    "bake", "builder", "buildx", "checkpoint", "compose", "config", "context",
    "manifest", "node", "plugin", "secret", "service", "stack", "swarm", "trust",
})
# fmt: on
"""docker's commands that neither this command nor the daemon has."""


class LazyGroup(click.Group):
    """Commands named in `lazy` are imported from `hypercell.cli.<module>` when they are called or listed."""

    def __init__(self, *args: object, lazy: dict[str, str] | None = None, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._lazy = lazy or {}
        self.verb = ""
        """The command that was called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._lazy:
            module = importlib.import_module(f"hypercell.cli.{self._lazy[cmd_name]}")
            found: click.Command = getattr(module, f"{cmd_name}_command")
            return found
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        self.verb = ""
        if ctx.parent is None and args[0] in _UNBUILT:
            ctx.fail(f"{args[0]}: not built yet. docs/engine-api.md lists what is.")
        if ctx.parent is None and args[0] in _DOCKERS_ALONE:
            host = Client(ctx.params["host"]).host
            ctx.fail(f"No such command {args[0]!r}. docker's own has it: DOCKER_HOST={host} docker {args[0]}")
        name, command, rest = super().resolve_command(ctx, args)
        self.verb = name or ""
        return name, command, rest


@click.group(
    cls=LazyGroup,
    lazy=_MODULES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("-H", "--host", metavar="URL", help="The daemon: unix:///path or tcp://address:port [$HYPERCELL_HOST].")
@click.version_option(hypercell.__version__, "-v", "--version", message="hypercell version %(version)s")
@click.pass_context
def cli(context: click.Context, host: str | None) -> None:
    """Run containers, each in a virtual machine of its own.

    \b
    hypercell run --rm -it busybox sh
    hypercell run -d --name web -p 8080:80 nginx
    hypercell exec -it web sh
    hypercell logs -f web
    """
    context.obj = Client(host)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command, and end with docker's exit code."""
    try:
        status = cli.main(standalone_mode=False)
        code = status if isinstance(status, int) else 0
    except Exit as ended:
        code = ended.code
    except ApiError as error:
        click.echo(error.said, err=True)
        code = NOT_RUN if cli.verb == "run" else 1
    except click.exceptions.Abort:
        code = 130
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.ClickException as error:
        error.show()
        code = refusal(error, cli.verb)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    except (ConnectionError, http.client.HTTPException):
        click.echo(lost().said, err=True)
        code = NOT_RUN if cli.verb == "run" else 1
    except (OSError, json.JSONDecodeError) as error:
        click.echo(f"hypercell: {error}", err=True)
        code = NOT_RUN if cli.verb == "run" else 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
