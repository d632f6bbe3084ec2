# SPDX-License-Identifier: Apache-2.0
"""Archives that the daemon sends, into a file or to stdout."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path

import click

_CHUNK = 1 << 20


def check_target(target: str | None) -> None:
    """Before anything is asked. None: stdout."""
    if target is None and sys.stdout.isatty():
        raise click.ClickException("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if target is not None and Path(target).exists() and not Path(target).is_file():
        raise click.ClickException(f"cannot write {target}: it is no regular file")


def write_archive(answer: http.client.HTTPResponse, target: str | None) -> None:
    """Whole or not at all, where there is a file."""
    if target is None:
        while data := answer.read(_CHUNK):
            sys.stdout.buffer.write(data)
        return
    partial = Path(f"{target}.partial")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(0o600)  # docker's mode: it may hold what is not for everybody
        with partial.open("wb") as file:
            while data := answer.read(_CHUNK):
                file.write(data)
        partial.replace(target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):
            raise click.ClickException(f"cannot write {target}: {error.strerror}") from error
        raise
