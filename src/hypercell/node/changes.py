# SPDX-License-Identifier: Apache-2.0
"""What was changed in a container's root (docker diff). The guest finds it; its words are read like any stranger's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from hypercell.base.errors import Internal, InvalidArgument
from hypercell.node.archive import stream
from hypercell.node.container import Container
from hypercell.node.types import Change, ChangeKind

_LONGEST: Final = 8192
"""Bytes of a record: a path of Linux has 4096, a failure's message less."""
_KINDS: Final = {kind.value.encode(): kind for kind in ChangeKind}
"""The letters of the agent protocol are docker's."""


async def changes(container: Container) -> AsyncGenerator[list[Change], None]:
    """As they are found: a directory before what is in it. Close it.

    Raises what a start may before the first, and while they come `InvalidArgument` for a tree that is too deep, and
    `Internal`.
    """
    _, content = await stream(container, "container.changes")
    found = _parsed(content)
    await anext(found)  # from here on its end is the stream's, even if nobody ever reads it
    return found


async def _parsed(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[list[Change], None]:
    left, end = b"", b""
    async with contextlib.aclosing(content):
        yield []
        async for data in content:
            *records, left = (left + data).split(b"\0")
            if end or len(left) > _LONGEST:
                raise _nonsense()
            if records and records[-1][:1] in (b".", b"!"):
                end = records.pop()
            yield [_change(record) for record in records]
    if end[:1] == b"!":
        raise InvalidArgument(f"the changes cannot be told: {_printable(end[1:])}")
    if end != b"." or left:
        raise Internal("the list of changes broke off", "see the daemon's log")


def _change(record: bytes) -> Change:
    kind = _KINDS.get(record[:1])
    if kind is None or record[1:2] != b"/" or len(record) > _LONGEST:
        raise _nonsense()
    return Change(record[1:], kind)


def _nonsense() -> Internal:
    return Internal("the guest's list of changes is none", "its VM cannot be trusted")


def _printable(text: bytes) -> str:
    return "".join(char if char.isprintable() else "?" for char in text.decode(errors="replace")[:500])
