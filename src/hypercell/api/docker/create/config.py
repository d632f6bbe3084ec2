# SPDX-License-Identifier: Apache-2.0
"""The portable half of a create request: docker's `Config`, which is the body's own members."""

from __future__ import annotations

import posixpath
from typing import Any

from hypercell.api.docker.create.health import parse_health
from hypercell.api.docker.create.mounts import parse_volumes
from hypercell.api.docker.create.networking import parse_mac
from hypercell.api.docker.create.ports import parse_port
from hypercell.api.docker.documents import Fields
from hypercell.base.errors import InvalidArgument

_ECHOED_FLAGS = ("AttachStdin", "AttachStdout", "AttachStderr", "ArgsEscaped")
_ECHOED_LISTS = ("OnBuild",)
"""For `docker build` only: nothing in a container that runs."""


def parse_config(fields: Fields, echo: dict[str, Any]) -> dict[str, Any]:
    """Members of a `ContainerRequest`; what only an inspection shows goes to *echo*."""
    for name in _ECHOED_FLAGS:
        if fields.flag(name):
            echo[name] = True
    for name in _ECHOED_LISTS:
        if values := fields.texts(name):
            echo[name] = list(values)
    request = {
        "mac": parse_mac(fields.text("MacAddress", limit=64)),
        "image": fields.text("Image"),
        "command": fields.words("Cmd") or None,
        "entrypoint": _entrypoint(fields, echo),
        "env": _environment(fields),
        "working_dir": _working_dir(fields.text("WorkingDir")),
        "user": fields.text("User", limit=256),
        "hostname": _host_name(fields, "Hostname"),
        "domainname": _host_name(fields, "Domainname"),
        "labels": fields.text_mapping("Labels"),
        "tty": fields.flag("Tty"),
        "open_stdin": fields.flag("OpenStdin"),
        "stdin_once": fields.flag("StdinOnce"),
        "stop_signal": fields.text("StopSignal", limit=32),
        "stop_timeout": fields.optional_number("StopTimeout", low=-1, high=1 << 31),
        "health": parse_health(fields),
        "volumes": parse_volumes(fields),
        "shell": fields.texts("Shell") or (),
        "exposed": tuple(parse_port(port, fields.name("ExposedPorts")) for port in fields.mapping("ExposedPorts")),
    }
    if fields.flag("NetworkDisabled"):
        request["network"] = "none"
    return request


def _entrypoint(fields: Fields, echo: dict[str, Any]) -> tuple[str, ...] | None:
    words = fields.words("Entrypoint")
    if words == ():
        echo["Entrypoint"] = []  # no entrypoint, but the image's command; only the list of one empty word drops both
    # The CLI says `--entrypoint ""` with one empty word.
    return () if words == ("",) else words


def _environment(fields: Fields) -> tuple[str, ...]:
    env = fields.texts("Env", limit=10_000, size=128 * 1024) or ()
    for entry in env:
        if not entry.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {entry[:100]}")
    return env


def _working_dir(path: str) -> str:
    if path and not path.startswith("/"):
        raise InvalidArgument(f"the working directory '{path[:200]}' is invalid, it needs to be an absolute path")
    return "/" + posixpath.normpath(path).lstrip("/") if path else ""


def _host_name(fields: Fields, key: str) -> str:
    name = fields.text(key, limit=253)
    if not all(character.isalnum() or character in "-._" for character in name) or not name.isascii():
        raise InvalidArgument(f"{key}: invalid hostname {name!r}")
    if key == "Hostname" and len(name) > 64:
        raise InvalidArgument(f"{key}: longer than 64 characters")
    return name
