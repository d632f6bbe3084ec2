# SPDX-License-Identifier: Apache-2.0
"""From the text of a Dockerfile to its logical lines: parser directives, comments, continuations, here-documents."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypercell.base.errors import InvalidArgument
from hypercell.images.archives.changes import json_list
from hypercell.images.archives.words import split

MAX_SIZE = 1 << 20
"""Bytes of a Dockerfile."""
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_HEREDOC = re.compile(r"[0-9]*<<(-?)([^<]+)")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")


@dataclass(frozen=True, slots=True)
class Heredoc:
    name: str
    content: str
    expands: bool
    """Variables in it are replaced: its name was not quoted."""


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    """Of its first line, from 1."""
    name: str
    """The instruction, in capitals."""
    rest: str
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    escape: str
    lines: tuple[Line, ...]


def wrong(number: int, words: str) -> InvalidArgument:
    return InvalidArgument(f"dockerfile parse error on line {number}: {words}")


def read(data: bytes) -> Text:
    """Raises `InvalidArgument`, saying the line."""
    if len(data) > MAX_SIZE:
        raise InvalidArgument(f"the Dockerfile is larger than {MAX_SIZE >> 20} MiB")
    if b"\0" in data:
        raise InvalidArgument("the Dockerfile holds a NUL byte", "it is no text")
    lines = data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").split("\n")
    escape = _directives(lines)
    reader = _Reader(lines, escape)
    return Text(escape, tuple(reader.read()))


def _directives(lines: list[str]) -> str:
    """The escape character. Those of BuildKit (`syntax`, `check`) mean nothing here, as to dockerd's own builder."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.fullmatch(line)
        name = match[1].lower() if match else ""
        if match is None or name not in ("escape", "syntax", "check"):
            break
        if name in found:
            raise wrong(number, f"only one {name} parser directive can be used")
        found[name] = match[2]
        if name == "escape" and match[2] not in ("\\", "`"):
            raise wrong(number, f"invalid escape token '{match[2][:20]}' does not match ` or \\")
    return found.get("escape", "\\")


class _Reader:
    def __init__(self, lines: list[str], escape: str) -> None:
        self._lines = lines
        self._at = 0
        self._escape = escape
        token = re.escape(escape)
        self._continues = re.compile(rf"(?:(.*[^{token}])|()){token}[ \t]*")

    def read(self) -> list[Line]:
        found: list[Line] = []
        while self._at < len(self._lines):
            first = self._lines[self._at].lstrip()
            self._at += 1
            line = self._logical(first) if first and not first.startswith("#") else None
            if line is not None:
                found.append(line)
        if not found:
            raise InvalidArgument("the Dockerfile (Dockerfile) cannot be empty", "begin with FROM")
        return found

    def _logical(self, first: str) -> Line | None:
        """None if there is nothing but continuations."""
        number = self._at
        pieces = []
        text: str | None = first
        while text is not None:
            match = self._continues.fullmatch(text)
            pieces.append((match[1] or "") if match else text)
            text = self._continued() if match else None
        name, *rest = "".join(pieces).strip().split(None, 1) or [""]
        if not name:
            return None
        line = Line(number, name.upper(), rest[0] if rest else "")
        return Line(number, line.name, line.rest, tuple(self._heredocs(line)))

    def _continued(self) -> str | None:
        """The next line that is neither empty nor a comment."""
        while self._at < len(self._lines):
            text = self._lines[self._at]
            self._at += 1
            if text.strip() and not text.lstrip().startswith("#"):
                return text
        return None

    def _heredocs(self, line: Line) -> list[Heredoc]:
        name, rest = line.name, line.rest
        if name == "ONBUILD":
            name, _, rest = rest.partition(" ")
        if name.upper() not in _WITH_HEREDOCS or "<<" not in rest or json_list(rest) is not None:
            return []
        try:
            words = split(rest, self._escape)
        except InvalidArgument:  # quotes of a shell's own kind
            return []
        found: list[Heredoc] = []
        for match in filter(None, map(_HEREDOC.fullmatch, words)):
            ending = re.sub(r"[\"']", "", match[2])
            found.append(self._heredoc(line, ending, tabs=bool(match[1]), expands=ending == match[2]))
        return found

    def _heredoc(self, line: Line, ending: str, tabs: bool, expands: bool) -> Heredoc:
        content: list[str] = []
        while self._at < len(self._lines):
            text = self._lines[self._at]
            self._at += 1
            if tabs:
                text = text.lstrip("\t")
            if text == ending:
                return Heredoc(ending, "".join(f"{each}\n" for each in content), expands)
            content.append(text)
        raise wrong(line.number, f"unterminated heredoc {ending[:50]!r}")
