# SPDX-License-Identifier: Apache-2.0
"""docker's exit codes: the container's own, 125 to 127 for one that did not start, 1 and 125 for other failures."""

from __future__ import annotations

import click

NOT_RUN = 125
"""The command line or the daemon kept the program from running."""


BAD_TEMPLATE = 64
_ONE_OBJECT = ("events", "info", "inspect", "version")


class BadTemplate(click.ClickException):
    """A `--format` that is no template."""


class Exit(Exception):
    """Leave the command with *code*."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def start_failure(message: str) -> int:
    """docker's exit code for a container that did not start: 127 no such program, 126 cannot run it, else 125."""
    if any(words in message for words in ("executable file not found", "no such file or directory")):
        return 127
    if any(words in message.lower() for words in ("permission denied", "is a directory", "exec format error")):
        return 126
    return NOT_RUN


def refusal(error: click.ClickException, verb: str) -> int:
    """For a command line that cannot be: 125 for a wrong option, 1 for wrong arguments.

    What `run` and `create` find wrong once the line is taken apart is always an option's fault. What is no usage error
    (no terminal, a file that cannot be written) is 1, but a wrong template is 64 where docker prints no list.
    """
    if isinstance(error, BadTemplate) and verb in _ONE_OBJECT:
        return BAD_TEMPLATE
    if not isinstance(error, click.UsageError):
        return 1
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Argument):
        return 1
    options = (click.NoSuchOption, click.BadOptionUsage, click.BadParameter)
    return NOT_RUN if verb in ("run", "create") or isinstance(error, options) else 1
