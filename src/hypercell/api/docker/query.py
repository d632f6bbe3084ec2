# SPDX-License-Identifier: Apache-2.0
"""Query parameters as dockerd reads them."""

from __future__ import annotations

from hypercell.api.docker.documents import Fields, load_json
from hypercell.api.docker.engine import Call
from hypercell.api.docker.times import parse_timestamp
from hypercell.api.http import Query
from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument

_FALSE = ("", "0", "no", "false", "none")


def flag(query: Query, name: str, default: bool = False) -> bool:
    """Anything but `0`, `no`, `false`, `none` and nothing is true."""
    if name not in query:
        return default
    return query.get(name).strip().lower() not in _FALSE


def number(query: Query, name: str) -> int | None:
    """A decimal integer; None when absent or empty. Raises `InvalidArgument`."""
    text = query.get(name)
    if not text:
        return None
    digits = text.removeprefix("-")
    if not is_digits(digits):
        raise InvalidArgument(f"{name}: invalid number {text[:40]!r}")
    return int(text)


def timestamp(query: Query, name: str) -> int:
    """Nanoseconds since 1970; 0 when absent or zero. Raises `InvalidArgument`."""
    text = query.get(name)
    return parse_timestamp(text, name) if text not in ("", "0") else 0


def window(query: Query) -> tuple[int, int]:
    """Rows and columns (`h`, `w`). Raises `InvalidArgument` in dockerd's words."""
    return _dimension(query, "h", "height"), _dimension(query, "w", "width")


def _dimension(query: Query, name: str, word: str) -> int:
    text = query.get(name)
    if not is_digits(text, longest=1000):
        raise InvalidArgument(f'invalid resize {word} "{text[:40]}": invalid syntax')
    if int(text[:10]) > 65535:
        raise InvalidArgument(f'invalid resize {word} "{text[:40]}": value out of range')
    return int(text)


async def json_body(call: Call) -> bytes:
    """The body of a request that must be JSON. Raises `InvalidArgument` for one that says it is something else: a web
    page can send forms and plain text without asking anybody, but not this type."""
    kind = call.header("content-type").partition(";")[0].strip().lower()
    if kind != "application/json" and (kind or call.body.length != 0):
        raise InvalidArgument(f"unsupported Content-Type header ({kind[:100]}): must be 'application/json'")
    return await call.read()


async def json_fields(call: Call) -> Fields:
    """The body as one JSON object; an empty body is an empty object. Raises `InvalidArgument`."""
    body = await json_body(call)
    return Fields(load_json(body) if body.strip() else {})
