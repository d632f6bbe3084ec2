# SPDX-License-Identifier: Apache-2.0
"""The context of a build as a tar that is made while it is sent, without what `.dockerignore` excludes."""

from __future__ import annotations

import os
import secrets
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from hypercell.base.errors import InvalidArgument
from hypercell.base.path_patterns import IgnoreRules

_BLOCK = 512
_CHUNK = 1 << 20
_IGNORE = ".dockerignore"
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True, slots=True)
class Context:
    dockerfile: str
    """Its path in the tar."""
    text: bytes
    """Of the Dockerfile; empty if nobody has looked into the tar."""
    tar: Iterator[bytes]


def of_directory(directory: Path, dockerfile: str, stdin: BinaryIO) -> Context:
    """*dockerfile*: a path of this machine, `-` for *stdin*, or empty."""
    if not directory.is_dir():
        raise click.ClickException(f"unable to prepare context: path {str(directory)!r} is not a directory")
    rules = _rules(directory)
    if dockerfile == "-":
        return _with_another(directory, rules, stdin.read())
    path = Path(dockerfile) if dockerfile else directory / "Dockerfile"
    if not dockerfile and not path.exists() and (directory / "dockerfile").exists():
        path = directory / "dockerfile"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"unable to read the Dockerfile {str(path)!r}: {error.strerror}") from error
    try:
        inside = path.resolve().relative_to(directory.resolve())
    except ValueError:
        return _with_another(directory, rules, text)
    return Context(str(inside), text, _tar(directory, rules, {str(inside), _IGNORE}))


def of_stream(stdin: BinaryIO, dockerfile: str) -> Context:
    """A tar, compressed or not, or a Dockerfile alone."""
    start = stdin.read(_BLOCK)
    if start.startswith(_MAGIC) or start[257:262] == b"ustar":
        return Context(dockerfile, b"", _rest(start, stdin))
    text = start + stdin.read()
    return Context("Dockerfile", text, iter((_member("Dockerfile", text), bytes(2 * _BLOCK))))


def _rest(start: bytes, stdin: BinaryIO) -> Iterator[bytes]:
    yield start
    while chunk := stdin.read(_CHUNK):
        yield chunk


def _rules(directory: Path) -> IgnoreRules:
    try:
        text = (directory / _IGNORE).read_text(errors="surrogateescape")
        return IgnoreRules(text.splitlines())
    except FileNotFoundError:
        return IgnoreRules(())
    except InvalidArgument as error:
        raise click.ClickException(f"{_IGNORE}: {error.message}") from error


def _with_another(directory: Path, rules: IgnoreRules, text: bytes) -> Context:
    """A Dockerfile that is no part of the directory goes along under a name that nothing else has."""
    name = f".dockerfile.{secrets.token_hex(10)}"

    def members() -> Iterator[bytes]:
        yield _member(name, text)
        yield from _tar(directory, rules, {_IGNORE})

    return Context(name, text, members())


def _member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % _BLOCK)


def _tar(directory: Path, rules: IgnoreRules, needed: set[str]) -> Iterator[bytes]:
    """*needed* goes along even if it is excluded: the daemon has to read it, and leaves it out afterwards."""
    yield from _below(directory, "", rules, needed)
    yield bytes(2 * _BLOCK)


def _below(directory: Path, prefix: str, rules: IgnoreRules, needed: set[str]) -> Iterator[bytes]:
    for entry in sorted(os.scandir(directory / prefix), key=lambda entry: entry.name):
        name = f"{prefix}{entry.name}"
        is_directory = entry.is_dir(follow_symlinks=False)
        excluded = bool(rules) and rules.excludes(name) and name not in needed
        if not excluded:
            yield from _entry(Path(entry.path), name)
        # Below an excluded directory there may be what is excepted, or needed.
        if is_directory and (
            not excluded or rules.has_exceptions or any(path.startswith(f"{name}/") for path in needed)
        ):
            yield from _below(directory, f"{name}/", rules, needed)


def _entry(path: Path, name: str) -> Iterator[bytes]:
    """As it is now: a file that changes meanwhile is cut or filled up to the size that was told."""
    found = path.lstat()
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(found.st_mode)
    info.pax_headers = {"mtime": f"{found.st_mtime_ns // 10**9}.{found.st_mtime_ns % 10**9:09d}"}
    if stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(found.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
    elif stat.S_ISFIFO(found.st_mode):
        info.type = tarfile.FIFOTYPE
    elif not stat.S_ISREG(found.st_mode):
        return  # a socket is nothing without its process, and a device is this machine's
    else:
        info.size = found.st_size
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if stat.S_ISREG(found.st_mode):
        yield from _content(path, info.size)


def _content(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            data = file.read(min(left, _CHUNK)) or bytes(min(left, _CHUNK))
            left -= len(data)
            yield data
    yield bytes(-size % _BLOCK)
