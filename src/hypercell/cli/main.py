# SPDX-License-Identifier: Apache-2.0
"""The command's entry: groups, and which module holds which command (loaded when it is called)."""

from __future__ import annotations

import importlib
import os
import sys

import click

import hypercell
from hypercell.cli.client import ApiError, Client
from hypercell.cli.exit import Exit

_CONTAINER = {
    "run": "run",
    "create": "run",
    "start": "lifecycle",
    "stop": "lifecycle",
    "kill": "lifecycle",
    "restart": "lifecycle",
    "pause": "lifecycle",
    "unpause": "lifecycle",
    "wait": "lifecycle",
    "rm": "lifecycle",
    "rename": "lifecycle",
    "ps": "listing",
    "logs": "listing",
    "top": "listing",
    "stats": "listing",
    "inspect": "listing",
    "exec": "execute",
    "attach": "execute",
}
_IMAGE = dict.fromkeys(("images", "pull", "load", "save", "import", "tag", "rmi", "history"), "images")
_SYSTEM = dict.fromkeys(("events", "info", "version", "doctor"), "system")


class LazyGroup(click.Group):
    """Commands named in `lazy` are imported from `hypercell.cli.<module>` when they are called or listed."""

    def __init__(self, *args: object, lazy: dict[str, str] | None = None, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._lazy:
            module = importlib.import_module(f"hypercell.cli.{self._lazy[cmd_name]}")
            found: click.Command = getattr(module, f"{cmd_name}_command")
            return found
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=LazyGroup,
    lazy={**_CONTAINER, **_IMAGE, **_SYSTEM, "system": "system"},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("-H", "--host", metavar="URL", help="The daemon: unix:///path or tcp://address:port.")
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


def main() -> None:
    """Run the command. Exit codes are docker's: 125 for what `run` and `exec` could not do, else 1, usage 125 or 2."""
    starting = len(sys.argv) > 1 and next((word for word in sys.argv[1:] if not word.startswith("-")), "") in (
        "run",
        "create",
    )
    try:
        status = cli.main(standalone_mode=False)
        code = status if isinstance(status, int) else 0
    except Exit as ended:
        code = ended.code
    except ApiError as error:
        prefix = "hypercell: Error response from daemon: " if error.status else "hypercell: "
        click.echo(prefix + error.message, err=True)
        code = 125 if starting else 1
    except click.exceptions.Abort:
        code = 130
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.ClickException as error:
        error.show()
        code = 125 if starting else error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
