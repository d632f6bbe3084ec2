# SPDX-License-Identifier: Apache-2.0
"""`--change`: single Dockerfile instructions that edit an image's config (Dockerfile reference; docker's `import`).

Values take quotes and backslashes as a shell does, and `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}` from the
ENV that stands so far.
"""

from __future__ import annotations

import json
import posixpath
import re
import signal
from collections.abc import Callable
from typing import Any

from hypercell.base.errors import InvalidArgument
from hypercell.images import config
from hypercell.images.archives.healthcheck import health_check
from hypercell.images.archives.words import expand, split

RunConfig = dict[str, Any]
"""The `config` object of an image config, with docker's keys."""

_LINE = re.compile(r"\s*([A-Za-z]+)\s+(.*?)\s*", re.DOTALL)
_SIGNAL = re.compile(r"(?:SIG)?([A-Z][A-Z0-9]*)(?:[+-][0-9]{1,2})?|([0-9]{1,2})")
_SIGNAL_NAMES = {item.name.removeprefix("SIG") for item in signal.Signals}
_PREFIX = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=")


def apply(changes: list[str], run: RunConfig) -> RunConfig:
    """*run* with the instructions applied in order. Raises `InvalidArgument` that quotes the one that is wrong."""
    run = dict(run)
    for line in changes:
        match = _LINE.fullmatch(line)
        if match is None:
            raise InvalidArgument(f"{line[:200]!r} is not an instruction", "write for example CMD /bin/sh")
        name, rest = match[1].upper(), match[2]
        if "\0" in rest:
            raise InvalidArgument(f"{name} holds a NUL byte")
        instruction = _INSTRUCTIONS.get(name)
        if instruction is None:
            raise InvalidArgument(f"{name} is not a valid change command", f"known are {', '.join(_INSTRUCTIONS)}")
        instruction(run, rest)
    return run


def _on_build(run: RunConfig, rest: str) -> None:
    """For builds that start from the image."""
    trigger = rest.split(None, 1)[0].upper()
    if trigger == "ONBUILD":
        raise InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InvalidArgument(f"{trigger} isn't allowed as an ONBUILD trigger")
    run["OnBuild"] = [*(run.get("OnBuild") or ()), rest]


def _environment(run: RunConfig) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in run.get("Env", ()))


def _words(run: RunConfig, rest: str) -> list[str]:
    return [expand(word, _environment(run)) for word in split(rest)]


def _json_list(rest: str) -> list[str] | None:
    """The exec form, or None for anything that is not a JSON list of strings (docker then takes the shell form)."""
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _arguments(rest: str) -> list[str]:
    given = _json_list(rest)
    return ["/bin/sh", "-c", rest] if given is None else given


def _cmd(run: RunConfig, rest: str) -> None:
    run["Cmd"] = _arguments(rest)


def _entrypoint(run: RunConfig, rest: str) -> None:
    run["Entrypoint"] = _arguments(rest)
    # The command was meant for what was there before.
    run.pop("Cmd", None)


def _pairs(run: RunConfig, rest: str, what: str) -> dict[str, str]:
    """`NAME=value NAME=value …`, or the old form `NAME value`."""
    if _PREFIX.match(rest) or rest.startswith(('"', "'")):
        pairs = [word.partition("=") for word in _words(run, rest)]
        for name, equals, _ in pairs:
            if not name or not equals:
                raise InvalidArgument(f"{what} {rest[:200]!r} must be NAME=value")
        return {name: value for name, _, value in pairs}
    name, _, value = rest.partition(" ")
    if not value:
        raise InvalidArgument(f"{what} must have two arguments")
    return {name: expand(value.strip(), _environment(run))}


def _env(run: RunConfig, rest: str) -> None:
    run["Env"] = [f"{name}={value}" for name, value in {**_environment(run), **_pairs(run, rest, "ENV")}.items()]


def _label(run: RunConfig, rest: str) -> None:
    run["Labels"] = {**run.get("Labels", {}), **_pairs(run, rest, "LABEL")}


def _expose(run: RunConfig, rest: str) -> None:
    ports = dict(run.get("ExposedPorts", {}))
    for word in _words(run, rest):
        numbers, _, protocol = config.port(word.lower()).partition("/")
        first, _, last = numbers.partition("-")
        for number in range(int(first), int(last or first) + 1):
            ports[f"{number}/{protocol}"] = {}
    run["ExposedPorts"] = ports


def _user(run: RunConfig, rest: str) -> None:
    run["User"] = _single(run, rest, "USER")


def _volume(run: RunConfig, rest: str) -> None:
    given = _json_list(rest)
    paths = _words(run, rest) if given is None else given
    if not all(path.strip() for path in paths):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    run["Volumes"] = {**run.get("Volumes", {}), **{config.volume(path): {} for path in paths}}


def _workdir(run: RunConfig, rest: str) -> None:
    given = expand(rest, _environment(run))
    run["WorkingDir"] = config.clean_path(posixpath.join(run.get("WorkingDir") or "/", given))


def _stop_signal(run: RunConfig, rest: str) -> None:
    name = _single(run, rest, "STOPSIGNAL")
    match = _SIGNAL.fullmatch(name.upper())
    if match is None or not (match[1] in _SIGNAL_NAMES or (match[2] and 1 <= int(match[2]) <= 64)):
        raise InvalidArgument(f"Invalid signal: {name[:50]}")
    run["StopSignal"] = name


def _healthcheck(run: RunConfig, rest: str) -> None:
    run["Healthcheck"] = health_check(rest, _json_list)


def _single(run: RunConfig, rest: str, what: str) -> str:
    words = _words(run, rest)
    if len(words) != 1:
        raise InvalidArgument(f"{what} requires exactly one argument")
    return words[0]


_INSTRUCTIONS: dict[str, Callable[[RunConfig, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
