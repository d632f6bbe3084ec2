# SPDX-License-Identifier: Apache-2.0
"""From logical lines to instructions: flags, forms, and how many words each takes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.engines.build.instructions import Arg, Copy, Edit, From, Instruction, Maintainer, Run, Shell, Workdir
from hypercell.engines.build.lines import Line, Text, read, wrong
from hypercell.images.archives.changes import json_list
from hypercell.images.archives.words import split

MAX_INSTRUCTIONS = 5000
MAX_FLAGS = 100
"""Of one instruction."""
_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EDITS = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME")
_REMOTE = ("http://", "https://", "ftp://", "git://", "git@", "ssh://")
_Flags = dict[str, list[str]]


def parse(data: bytes) -> tuple[str, list[Instruction]]:
    """The escape character and the instructions. Raises `InvalidArgument` and `Unsupported`, saying the line."""
    text = read(data)
    if len(text.lines) > MAX_INSTRUCTIONS:
        raise InvalidArgument(f"the Dockerfile has more than {MAX_INSTRUCTIONS} instructions")
    return text.escape, [_instruction(line, text) for line in text.lines]


def parse_trigger(trigger: str, escape: str) -> Instruction:
    """What an image says with ONBUILD."""
    text = read(trigger.encode())
    if len(text.lines) != 1 or text.lines[0].name in ("FROM", "ONBUILD", "MAINTAINER"):
        raise InvalidArgument(f"the ONBUILD trigger {trigger[:100]!r} is no instruction that can be one")
    return _instruction(text.lines[0], Text(escape, text.lines))


def _instruction(line: Line, text: Text) -> Instruction:
    make = _MAKERS.get(line.name)
    if make is None:
        raise wrong(line.number, f"unknown instruction: {line.name[:100]}")
    if not line.rest:
        raise wrong(line.number, f"{line.name} requires at least one argument")
    try:
        return make(line, f"{line.name} {line.rest}", text.escape)
    except InvalidArgument as error:
        if error.message.startswith("dockerfile parse error"):
            raise
        raise wrong(line.number, error.message) from error


def _flags(rest: str, escape: str, known: tuple[str, ...], name: str) -> tuple[_Flags, str]:
    """`--name=value` and `--name` in front, and what follows."""
    flags: _Flags = {}
    while rest.startswith("--"):
        word = _first_word(rest, escape)
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        key, equals, value = word[2:].partition("=")
        if key not in known:
            raise InvalidArgument(f"unknown flag: --{key[:50]} of {name}")
        flags.setdefault(key, []).append(value if equals else "true")
        if sum(map(len, flags.values())) > MAX_FLAGS:
            raise InvalidArgument(f"{name} has more than {MAX_FLAGS} flags")
    return flags, rest


def _first_word(text: str, escape: str) -> str:
    at, quote = 0, ""
    while at < len(text) and (quote or not text[at].isspace()):
        if text[at] == escape and at + 1 < len(text):
            at += 1
        elif quote:
            quote = "" if text[at] == quote else quote
        elif text[at] in "\"'":
            quote = text[at]
        at += 1
    return text[:at]


def _from(line: Line, text: str, escape: str) -> Instruction:
    flags, rest = _flags(line.rest, escape, ("platform",), "FROM")
    words = rest.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise InvalidArgument("FROM requires either one or three arguments")
    name = words[2].lower() if len(words) == 3 else ""
    if name and not _STAGE_NAME.fullmatch(name):
        raise InvalidArgument(
            f'invalid name for build stage: "{name[:100]}", name can\'t start with a number or contain symbols'
        )
    return From(line.number, text, words[0], name, flags.get("platform", [""])[-1])


def _arg(line: Line, text: str, escape: str) -> Instruction:
    pairs: list[tuple[str, str | None]] = []
    for word in split(line.rest, escape):
        name, equals, value = word.partition("=")
        if not _ARGUMENT.fullmatch(name):
            raise InvalidArgument(f"ARG {word[:100]!r} is neither NAME nor NAME=value")
        pairs.append((name, value if equals else None))
    return Arg(line.number, text, tuple(pairs))


def _edit(line: Line, text: str, escape: str) -> Instruction:
    return Edit(line.number, text, line.name, line.rest)


def _workdir(line: Line, text: str, escape: str) -> Instruction:
    return Workdir(line.number, text, line.rest)


def _shell(line: Line, text: str, escape: str) -> Instruction:
    words = json_list(line.rest)
    if not words:
        raise InvalidArgument("SHELL requires the arguments to be in JSON form")
    return Shell(line.number, text, tuple(words))


def _maintainer(line: Line, text: str, escape: str) -> Instruction:
    return Maintainer(line.number, text, line.rest)


def _run(line: Line, text: str, escape: str) -> Instruction:
    flags, rest = _flags(line.rest, escape, ("mount", "network", "security"), "RUN")
    if not rest:
        raise InvalidArgument("RUN requires at least one argument")
    if flags.get("security", ["sandbox"])[-1] != "sandbox":
        raise Unsupported(
            f"line {line.number}: RUN --security is not built", "a command has a VM of its own: leave it out"
        )
    network = flags.get("network", [""])[-1]
    if network not in ("", "default", "none"):
        raise Unsupported(f"line {line.number}: RUN --network={network[:50]} is not built", "choose default or none")
    tmpfs = dict(_mount(line.number, spec) for spec in flags.get("mount", ()))
    words = json_list(rest)
    command = _with_heredocs(line, rest) if words is None else rest
    return Run(line.number, text, command, tuple(words) if words is not None else None, network, tmpfs)


def _mount(number: int, spec: str) -> tuple[str, str]:
    options = dict(option.partition("=")[::2] for option in spec.split(","))
    kind = options.pop("type", "bind")
    if kind != "tmpfs":
        hint = "COPY what is needed, or use type=tmpfs" if kind == "bind" else "leave the mount out, or use type=tmpfs"
        raise Unsupported(f"line {number}: RUN --mount=type={kind[:20]} needs BuildKit, which is not built", hint)
    target = options.pop("target", "") or options.pop("dst", "") or options.pop("destination", "")
    size = options.pop("size", "")
    if options or not posixpath.isabs(target):
        raise InvalidArgument(f"invalid mount {spec[:100]!r}: type=tmpfs, target (an absolute path) and size are known")
    return target, f"size={size}" if size else ""


def _with_heredocs(line: Line, rest: str) -> str:
    """A here-document alone is the script; else the shell gets the line with its documents behind it."""
    if not line.heredocs:
        return rest
    if len(line.heredocs) == 1 and re.fullmatch(r"<<-?\S+", rest):
        script = line.heredocs[0].content
        if not script.startswith("#!"):
            return script
        interpreter = script.partition("\n")[0][2:].strip()
        ending = _unused(script)
        return f"{interpreter} /dev/fd/3 3<<'{ending}'\n{script}{ending}\n"
    return rest + "\n" + "".join(f"{each.content}{each.name}\n" for each in line.heredocs)


def _unused(script: str) -> str:
    ending = "HEREDOC"
    while ending in script:
        ending += "_"
    return ending


def _copy(line: Line, text: str, escape: str) -> Instruction:
    adds = line.name == "ADD"
    known = ("chown", "chmod", "link", "from", "parents", "exclude", "checksum", "keep-git-dir", "unpack")
    flags, rest = _flags(line.rest, escape, known, line.name)
    for flag in ("parents", "exclude", "checksum", "keep-git-dir", "unpack"):
        if flag in flags:
            raise Unsupported(
                f"line {line.number}: {line.name} --{flag} needs BuildKit, which is not built", "leave it out"
            )
    if adds and "from" in flags:
        raise InvalidArgument("unknown flag: --from of ADD")
    words = json_list(rest)
    words = split(rest, escape) if words is None else words
    inline = {word for word in words if re.fullmatch(r"<<-?[^<]+", word)} if line.heredocs else set()
    words = [word for word in words if word not in inline]
    if len(words) + len(line.heredocs) < 2:
        raise InvalidArgument(f"{line.name} requires at least two arguments, but only one was provided")
    if any(word.startswith(_REMOTE) for word in words[:-1]) and adds:
        raise Unsupported(
            f"line {line.number}: ADD of a URL is not built", "fetch it with RUN, where the network is the container's"
        )
    return Copy(
        line.number,
        text,
        tuple(words[:-1]),
        words[-1],
        unpacks=adds,
        source=flags.get("from", [""])[-1],
        chown=flags.get("chown", [""])[-1],
        chmod=flags.get("chmod", [""])[-1],
        files=line.heredocs,
    )


_MAKERS: dict[str, Callable[[Line, str, str], Instruction]] = {
    "FROM": _from,
    "ARG": _arg,
    "WORKDIR": _workdir,
    "SHELL": _shell,
    "MAINTAINER": _maintainer,
    "RUN": _run,
    "COPY": _copy,
    "ADD": _copy,
    **dict.fromkeys(_EDITS, _edit),
}
