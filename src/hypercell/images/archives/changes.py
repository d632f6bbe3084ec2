# SPDX-License-Identifier: Apache-2.0
"""`--change`: single Dockerfile instructions that edit an image's config (Dockerfile reference; docker's `import`).

Values take quotes and backslashes as a shell does, and variables of the ENV that stands so far (`words.py`).
"""

from __future__ import annotations

import json
import posixpath
import re
import signal
from collections.abc import Callable, Mapping
from typing import Any

from hypercell.base.errors import InvalidArgument
from hypercell.images import config
from hypercell.images.archives.globs import Work
from hypercell.images.archives.healthcheck import health_check
from hypercell.images.archives.words import expand, split

RunConfig = dict[str, Any]
"""The `config` object of an image config, with docker's keys."""

DEFAULT_SHELL = ("/bin/sh", "-c")
_LINE = re.compile(r"\s*([A-Za-z]+)\s+(.*?)\s*", re.DOTALL)
_SIGNAL = re.compile(r"(?:SIG)?([A-Z][A-Z0-9]*)(?:[+-][0-9]{1,2})?|([0-9]{1,2})")
_SIGNAL_NAMES = {item.name.removeprefix("SIG") for item in signal.Signals}
_PREFIX = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=")


def apply(changes: list[str], run: RunConfig) -> RunConfig:
    """*run* with the instructions applied in order. Raises `InvalidArgument` that quotes the one that is wrong."""
    editor = Editor(dict(run))
    for line in changes:
        match = _LINE.fullmatch(line)
        if match is None:
            raise InvalidArgument(f"{line[:200]!r} is not an instruction", "write for example CMD /bin/sh")
        editor.edit(match[1].upper(), match[2])
    return editor.run


class Editor:
    """Instructions upon a run config, one after the other."""

    def __init__(self, run: RunConfig, escape: str = "\\", work: Work | None = None) -> None:
        """*work*: what is left for patterns, if others have a share in it."""
        self.run = run
        self.escape = escape
        self._work = work or Work()
        self.arguments: Mapping[str, str] = {}
        """Variables besides those of ENV, which go before them."""
        self._command_given = False

    def edit(self, name: str, rest: str) -> None:
        if not rest.strip():
            raise InvalidArgument(f"{name} requires at least one argument")
        if "\0" in rest:
            raise InvalidArgument(f"{name} holds a NUL byte")
        instruction = _INSTRUCTIONS.get(name)
        if instruction is None:
            raise InvalidArgument(f"{name} is not a valid change command", f"known are {', '.join(_INSTRUCTIONS)}")
        instruction(self, rest)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.arguments, **self._env()}

    def _env(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.run.get("Env") or ())

    def expand(self, word: str) -> str:
        return expand(word, self.environment, self.escape, self._work)

    def words(self, rest: str) -> list[str]:
        environment = self.environment
        return [expand(word, environment, self.escape, self._work) for word in split(rest, self.escape)]

    def command_line(self, rest: str) -> list[str]:
        """The exec form as it is, the shell form with its shell."""
        given = json_list(rest)
        return [*(self.run.get("Shell") or DEFAULT_SHELL), rest] if given is None else given

    def cmd(self, rest: str) -> None:
        self.run["Cmd"] = self.command_line(rest)
        self._command_given = True

    def entrypoint(self, rest: str) -> None:
        self.run["Entrypoint"] = self.command_line(rest)
        if not self._command_given:
            # It was meant for the entrypoint that was there before.
            self.run.pop("Cmd", None)

    def env(self, rest: str) -> None:
        values = {**self._env(), **self.pairs(rest, "ENV")}
        self.run["Env"] = [f"{name}={value}" for name, value in values.items()]

    def label(self, rest: str) -> None:
        self.run["Labels"] = {**(self.run.get("Labels") or {}), **self.pairs(rest, "LABEL")}

    def pairs(self, rest: str, what: str) -> dict[str, str]:
        """`NAME=value NAME=value …`, or the old form `NAME value`."""
        if _PREFIX.match(rest) or rest.startswith(('"', "'")):
            pairs = [word.partition("=") for word in self.words(rest)]
            for name, equals, _ in pairs:
                if not name or not equals:
                    raise InvalidArgument(f"{what} {rest[:200]!r} must be NAME=value")
            return {name: value for name, _, value in pairs}
        name, *value = rest.split(None, 1)
        if not value:
            raise InvalidArgument(f"{what} must have two arguments")
        return {self.expand(name): self.expand(value[0])}

    def expose(self, rest: str) -> None:
        ports = dict(self.run.get("ExposedPorts") or {})
        for word in self.words(rest):
            for one in word.split():  # a variable may hold several
                numbers, _, protocol = config.port(one.lower()).partition("/")
                first, _, last = numbers.partition("-")
                for number in range(int(first), int(last or first) + 1):
                    ports[f"{number}/{protocol}"] = {}
        self.run["ExposedPorts"] = ports

    def user(self, rest: str) -> None:
        self.run["User"] = self.single(rest, "USER")

    def volume(self, rest: str) -> None:
        given = json_list(rest)
        paths = self.words(rest) if given is None else [self.expand(path) for path in given]
        if not all(path.strip() for path in paths):
            raise InvalidArgument("VOLUME specified can not be an empty string")
        volumes: dict[str, Any] = {config.volume(path): {} for path in paths}
        self.run["Volumes"] = {**(self.run.get("Volumes") or {}), **volumes}

    def workdir(self, rest: str) -> None:
        self.run["WorkingDir"] = config.clean_path(posixpath.join(self.run.get("WorkingDir") or "/", self.expand(rest)))

    def stop_signal(self, rest: str) -> None:
        name = self.single(rest, "STOPSIGNAL")
        match = _SIGNAL.fullmatch(name.upper())
        if match is None or not (match[1] in _SIGNAL_NAMES or (match[2] and 1 <= int(match[2]) <= 64)):
            raise InvalidArgument(f"Invalid signal: {name[:50]}")
        self.run["StopSignal"] = name

    def healthcheck(self, rest: str) -> None:
        self.run["Healthcheck"] = health_check(rest, json_list)

    def on_build(self, rest: str) -> None:
        """For builds that start from the image."""
        trigger = rest.split(None, 1)[0].upper()
        if trigger == "ONBUILD":
            raise InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
        if trigger in ("MAINTAINER", "FROM"):
            raise InvalidArgument(f"{trigger} isn't allowed as an ONBUILD trigger")
        self.run["OnBuild"] = [*(self.run.get("OnBuild") or ()), rest]

    def single(self, rest: str, what: str) -> str:
        words = self.words(rest)
        if len(words) != 1:
            raise InvalidArgument(f"{what} requires exactly one argument")
        return words[0]


def json_list(rest: str) -> list[str] | None:
    """The exec form, or None for anything that is not a JSON list of strings (docker then takes the shell form)."""
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


_INSTRUCTIONS: dict[str, Callable[[Editor, str], None]] = {
    "CMD": Editor.cmd,
    "ENTRYPOINT": Editor.entrypoint,
    "ENV": Editor.env,
    "EXPOSE": Editor.expose,
    "HEALTHCHECK": Editor.healthcheck,
    "LABEL": Editor.label,
    "ONBUILD": Editor.on_build,
    "STOPSIGNAL": Editor.stop_signal,
    "USER": Editor.user,
    "VOLUME": Editor.volume,
    "WORKDIR": Editor.workdir,
}
