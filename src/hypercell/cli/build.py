# SPDX-License-Identifier: Apache-2.0
"""An image of a Dockerfile: build."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hypercell.cli import credentials, parse, progress
from hypercell.cli.client import ApiError, Client
from hypercell.cli.context import Context, of_directory, of_stream
from hypercell.cli.exit import Exit

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*([^\s$]+)", re.IGNORECASE | re.MULTILINE)


@click.command("build")
@click.option("-f", "--file", "dockerfile", default="", help="The Dockerfile ('-': stdin), else PATH/Dockerfile.")
@click.option("-t", "--tag", "tags", multiple=True, help="A name for the image.")
@click.option("--build-arg", "arguments", multiple=True, help="NAME=VALUE, or NAME to take it from the environment.")
@click.option("--label", "labels", multiple=True, help="NAME=VALUE for the image.")
@click.option("--target", default="", help="The stage that is to be built.")
@click.option("--no-cache", is_flag=True, help="Carry out every step.")
@click.option("--pull", is_flag=True, help="Ask registries for newer images.")
@click.option("--network", default="default", help="Of RUN: default or none.")
@click.option("-m", "--memory", default="", help="Of RUN, such as 512m.")
@click.option("--platform", default="", help="Such as linux/amd64.")
@click.option("--iidfile", type=click.Path(), help="Write the image's id to a file.")
@click.option("-q", "--quiet", is_flag=True, help="Print the id alone.")
@click.argument("path")
@click.pass_obj
def build_command(
    client: Client,
    dockerfile: str,
    tags: tuple[str, ...],
    arguments: tuple[str, ...],
    labels: tuple[str, ...],
    target: str,
    no_cache: bool,
    pull: bool,
    network: str,
    memory: str,
    platform: str,
    iidfile: str | None,
    quiet: bool,
    path: str,
) -> None:
    """Build an image from a Dockerfile and the directory PATH ('-': a tar, or a Dockerfile alone, from stdin).

    \b
    hypercell build -t web:1 .
    """
    if path == "-" and dockerfile == "-":
        raise click.UsageError("invalid argument: can't use stdin for both build context and dockerfile")
    stdin = sys.stdin.buffer
    context = of_stream(stdin, dockerfile) if path == "-" else of_directory(Path(path), dockerfile, stdin)
    query = {
        "dockerfile": context.dockerfile,
        "t": list(tags),
        "buildargs": dict(_argument(text) for text in arguments),
        "labels": parse.pairs(labels),
        "target": target,
        "nocache": no_cache,
        "pull": pull,
        "networkmode": network,
        "memory": parse.memory(memory) if memory else None,
        "platform": platform,
        "q": quiet,
        "rm": True,
    }
    headers = {"Content-Type": "application/x-tar", **_logins(context)}
    image = _Image()
    try:
        _show(image.seen(client.lines("POST", "/build", query, stream=context.tar, headers=headers)))
    except ApiError as error:
        if not error.code:
            raise
        click.echo(error.message, err=True)
        raise Exit(error.code) from error
    if iidfile:
        Path(iidfile).write_text(image.id)


class _Image:
    """The id of what is built, as it is told."""

    def __init__(self) -> None:
        self.id = ""

    def seen(self, lines: Iterator[Any]) -> Iterator[Any]:
        for line in lines:
            told = (line.get("aux") or {}).get("ID") or str(line.get("stream", "")).strip()
            if str(told).startswith("sha256:"):
                self.id = str(told)
            yield line


def _show(lines: Iterator[Any]) -> None:
    """Words as they come; pulls in between as pulls are shown."""
    for line in lines:
        if "stream" in line:
            click.echo(line["stream"], nl=False)
        elif "status" in line:
            progress.show([line])


def _argument(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else os.environ.get(name)


def _logins(context: Context) -> dict[str, str]:
    """What the registries of the Dockerfile's images want to know, and of no others."""
    found = {}
    for image in _FROM.findall(context.text.decode(errors="replace")):
        registry = credentials.registry_of(image)
        if auth := credentials.find(registry):
            found[registry] = auth
    if not found:
        return {}
    return {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(found).encode()).decode()}
