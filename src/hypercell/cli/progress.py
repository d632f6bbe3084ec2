# SPDX-License-Identifier: Apache-2.0
"""The progress of pulls, pushes and loads: bars on a terminal, one line per step elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from hypercell.cli.client import Client
from hypercell.cli.output import printable, size
from hypercell.cli.parse import name_and_tag


def pull(client: Client, image: str, platform: str = "", err: bool = False, quiet: bool = False) -> None:
    """Pull *image* and show how it goes. Raises `ApiError`."""
    from hypercell.cli import credentials  # most runs need no pull

    name, _, digest = image.partition("@")
    name, tag = (name, "") if digest else name_and_tag(name)
    query = {"fromImage": name, "tag": digest or tag or "latest", "platform": platform}
    if not (digest or tag):
        click.echo("Using default tag: latest", err=err)
    lines = client.lines("POST", "/images/create", query, headers=credentials.header(name))
    show(lines, err=err, quiet=quiet)


def show(lines: Iterable[Any], err: bool = False, quiet: bool = False) -> None:
    """Render docker's progress lines, but for what is meant for programs."""
    lines = (line for line in lines if "aux" not in line)
    stream = sys.stderr if err else sys.stdout
    if quiet:
        for _ in lines:
            pass
    elif stream.isatty():
        _bars(lines, err)
    else:
        _steps(lines, err)


def _steps(lines: Iterable[Any], err: bool) -> None:
    seen: dict[str, str] = {}
    for line in lines:
        status, layer = str(line.get("status", line.get("stream", ""))), str(line.get("id", ""))
        if seen.get(layer) != status and not (line.get("progressDetail") or {}).get("total"):
            click.echo(printable(f"{layer}: {status}" if layer else status).rstrip("\n"), err=err)
        if layer:
            seen[layer] = status


def _bars(lines: Iterable[Any], err: bool) -> None:
    order: list[str] = []
    shown: dict[str, str] = {}
    for line in lines:
        layer = str(line.get("id", ""))
        if not layer:
            click.echo(printable(str(line.get("status", line.get("stream", "")))).rstrip("\n"), err=err)
            order, shown = [], {}
            continue
        for text in _move(order, shown, layer, _bar(line)):
            click.echo(text, err=err, nl=False)


def _move(order: list[str], shown: dict[str, str], layer: str, text: str) -> Iterator[str]:
    if layer not in shown:
        order.append(layer)
        shown[layer] = text
        yield f"{layer}: {text}\n"
        return
    shown[layer] = text
    up = len(order) - order.index(layer)
    yield f"\x1b[{up}A\r\x1b[2K{layer}: {text}\x1b[{up}B\r"


def _bar(line: dict[str, Any]) -> str:
    detail = line.get("progressDetail") or {}
    current, total = detail.get("current", 0), detail.get("total", 0)
    status = printable(str(line.get("status", "")))
    if not total:
        return status
    width = max(10, min(50, shutil.get_terminal_size().columns - 60))
    filled = int(width * min(current, total) / total)
    bar = ("=" * filled + (">" if filled < width else "")).ljust(width)
    return f"{status} [{bar}] {size(current)}/{size(total)}"
