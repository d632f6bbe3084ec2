# SPDX-License-Identifier: Apache-2.0
"""The arguments of ps(1) (procps's, which dockerd runs) as columns: standard and BSD options, and formats by name.

Which processes are shown is not theirs to say: always all of the container's. Words of a refusal are ps' own.
"""

from __future__ import annotations

from hypercell.api.docker.ps_columns import COLUMNS, Column
from hypercell.base.errors import InvalidArgument, Unsupported

_LONGEST = 1024
_SELECTIONS = {"-": "Aadew", "": "agxw"}
"""Which processes, and how wide: nothing that matters here."""
_FORMATS = {"-": "fFj", "": "uj"}
_ELSE = {"-": "CGHLMNPTUVZcgklmnpqstuy", "": "CHLNOSTUVXZcefhklmnpqrstvy0123456789"}
"""What ps has besides."""
_STANDARD = {
    "": "pid tname=TTY time cmd",
    "f": "user=UID pid ppid c stime tname=TTY time cmd",
    "F": "user=UID pid ppid c sz rss psr stime tname=TTY time cmd",
    "j": "pid pgid sid tname=TTY time cmd",
    "fj": "user=UID pid ppid pgid sid c stime tname=TTY time cmd",
    "Fj": "user=UID pid ppid pgid sid c sz rss psr stime tname=TTY time cmd",
}
_BSD = {
    "": "pid tname=TTY stat bsdtime=TIME args",
    "u": "user pid %cpu %mem vsz rss tname=TTY stat start_time=START bsdtime=TIME args",
    "j": "ppid pid pgid sid tname=TTY tpgid stat uid bsdtime=TIME args",
}


class _Asked:
    def __init__(self) -> None:
        self.standard: set[str] = set()
        self.bsd: set[str] = set()
        self.is_bsd = False
        self.named: list[Column] = []


def parse(arguments: str) -> list[Column]:
    """Raises `InvalidArgument` for what ps refuses, `Unsupported` for what only the host's ps could do."""
    if len(arguments) > _LONGEST:
        raise InvalidArgument(f"ps_args: more than {_LONGEST} characters")
    asked, words = _Asked(), arguments.split()
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            _long(word, words, asked)
        elif word.startswith("-"):
            _letters("-", word[1:], words, asked)
        else:
            asked.is_bsd = True
            _letters("", word, words, asked)
    return _chosen(asked)


def _long(word: str, words: list[str], asked: _Asked) -> None:
    name, equals, value = word.partition("=")
    if name != "--format":
        raise Unsupported(f"ps_args {word[:40]!r} is not built yet", "options of one letter and --format are")
    asked.named += _columns(value if equals else words.pop(0) if words else "")


def _letters(dash: str, letters: str, words: list[str], asked: _Asked) -> None:
    for index, letter in enumerate(letters):
        if letter == "o" or (letter == "O" and dash):
            rest = letters[index + 1 :] or (words.pop(0) if words else "")
            asked.named += _columns(rest) if letter == "o" else _inserted(rest)
            return
        if letter in _FORMATS[dash]:
            (asked.standard if dash else asked.bsd).add(letter)
        elif letter in _ELSE[dash]:
            raise Unsupported(f"ps_args '{dash}{letter}' is not built yet", "-e, -f, -F, -j, a, u, x, j and -o are")
        elif letter not in _SELECTIONS[dash]:
            raise InvalidArgument(f"ps: error: unsupported {'SysV option' if dash else 'option (BSD syntax)'}")
    if not letters:
        raise InvalidArgument("ps: error: improper list")


def _chosen(asked: _Asked) -> list[Column]:
    if len(asked.bsd) + bool(asked.standard) > 1 or (asked.named and asked.bsd):
        raise InvalidArgument("ps: error: conflicting format options")
    if asked.named:
        return asked.named
    if asked.bsd or (asked.is_bsd and not asked.standard):
        return _listed(_BSD["".join(asked.bsd)])
    standard = asked.standard - {"f"} if "F" in asked.standard else asked.standard
    return _listed(_STANDARD["".join(sorted(standard))])


def _listed(names: str) -> list[Column]:
    return [column for name in names.split() for column in _columns(name)]


def _inserted(names: str) -> list[Column]:
    return [*_listed("pid"), *_columns(names), *_listed("s tname=TTY time args")]


def _columns(names: str) -> list[Column]:
    """`pid,comm=NAME`"""
    if not names:
        raise InvalidArgument("ps: error: format specification must follow -o")
    columns = []
    for part in names.split(","):
        name, equals, title = part.partition("=")
        column = COLUMNS.get(name)
        if column is None:
            raise InvalidArgument(f'ps: error: unknown user-defined format specifier "{name[:40]}"')
        columns.append((title, column[1]) if equals else column)
    return columns
