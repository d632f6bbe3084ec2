# SPDX-License-Identifier: Apache-2.0
"""What was changed in a container's root (`docker diff`): `/containers/{id}/changes`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator

from hypercell.api.docker.engine import Call
from hypercell.api.http import StreamResponse
from hypercell.cloud.contract import Change, ChangeKind

_NUMBERS = {ChangeKind.MODIFIED: 0, ChangeKind.ADDED: 1, ChangeKind.DELETED: 2}
_ESCAPED = re.compile("[\udc80-\udcff]")
_AHEAD = 64 * 1024
"""Bytes that are gathered before the head is sent: an error that comes sooner is an ordinary answer."""


async def container_changes(call: Call) -> StreamResponse:
    engine = call.app
    found = await engine.containers.changes(engine.tenant, call.params["name"])
    content = _document(found)
    await anext(content)
    return StreamResponse(content, content_type="application/json")


async def _document(found: AsyncIterator[list[Change]]) -> AsyncGenerator[bytes, None]:
    """A JSON array, or `null` if there are none, as Go writes an empty list. Its first chunk is empty, and comes when
    the list has begun well."""
    text, began = bytearray(), False
    async with contextlib.aclosing(_items(found)) as items:
        async for item in items:
            text += item
            if len(text) >= _AHEAD:
                if not began:
                    began = True
                    yield b""
                yield bytes(text)
                text.clear()
    if not began:
        yield b""
    yield bytes(text)


async def _items(found: AsyncIterator[list[Change]]) -> AsyncGenerator[bytes, None]:
    before = b"["
    try:
        async for several in found:
            for change in several:
                yield before + _item(change)
                before = b","
    finally:
        close = getattr(found, "aclose", None)
        if close is not None:
            await close()
    yield b"null\n" if before == b"[" else b"]\n"


def _item(change: Change) -> bytes:
    item = {"Path": _text(change.path), "Kind": _NUMBERS[change.kind]}
    return json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()


def _text(path: bytes) -> str:
    """Each byte that is not UTF-8 becomes U+FFFD, as with Go."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        return _ESCAPED.sub("\N{REPLACEMENT CHARACTER}", path.decode(errors="surrogateescape"))
