# SPDX-License-Identifier: Apache-2.0
"""JSON from clients, read strictly: bounded in size and depth, no duplicate keys, typed fields with names in errors.

Go's decoder matches names of members in any case, and clients rely on it; here a member given twice, in whatever
cases, is an error, because a rule that looks at one spelling must not be passed by the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from hypercell.base.errors import InvalidArgument

T = TypeVar("T")
MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
_MAX_BRACKETS = 100_000
_MAX_STRING = 1024 * 1024
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A string (one that does not end reaches to the end: each byte is looked at once), or a bracket."""


def load_json(data: bytes, name: str = "request body") -> Any:
    """The document. Raises `InvalidArgument`."""
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"{name}: more than {MAX_BYTES} bytes of JSON")
    _check_depth(data, name)
    try:
        return json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"invalid JSON: {name}: {error}") from None


def _check_depth(data: bytes, name: str) -> None:
    brackets = data.count(b"[") + data.count(b"{")
    if brackets <= MAX_DEPTH:
        return
    if brackets > _MAX_BRACKETS:
        raise InvalidArgument(f"invalid JSON: {name}: too many values")
    depth = 0
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidArgument(f"invalid JSON: {name}: nested deeper than {MAX_DEPTH}")
        elif token in (b"]", b"}"):
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {twice[:100]!r}")
    return members


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


class Fields:
    """The members of one JSON object, taken one by one; what nobody took is an error in the end (`finish`).

    A member that is null counts as absent, as in Go.
    """

    def __init__(self, value: Any, path: str = "") -> None:
        if not isinstance(value, dict):
            raise InvalidArgument(f"{path or 'request body'}: must be an object")
        self._path = path
        self._members: dict[str, tuple[str, Any]] = {}
        for key, member in value.items():
            folded = key.lower()
            if folded in self._members:
                raise InvalidArgument(f"duplicate field {self.name(key)}: {self._members[folded][0]!r} is the same")
            self._members[folded] = (key, member)

    def name(self, key: str) -> str:
        return f"{self._path}.{key[:100]}" if self._path else key[:100]

    def take(self, key: str) -> Any:
        """The raw member, or None."""
        return self._members.pop(key.lower(), (key, None))[1]

    def text(self, key: str, default: str = "", limit: int = 4096) -> str:
        value = self.take(key)
        return default if value is None else self._text(key, value, limit)

    def flag(self, key: str, default: bool = False) -> bool:
        return self._typed(key, bool, default)

    def optional_flag(self, key: str) -> bool | None:
        value = self.take(key)
        if value is not None and not isinstance(value, bool):
            raise InvalidArgument(f"{self.name(key)}: must be true or false")
        return value

    def number(self, key: str, default: int = 0, low: int = -(1 << 63), high: int = (1 << 63) - 1) -> int:
        value = self.optional_number(key, low, high)
        return default if value is None else value

    def optional_number(self, key: str, low: int = -(1 << 63), high: int = (1 << 63) - 1) -> int | None:
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidArgument(f"{self.name(key)}: must be an integer")
        if not low <= value <= high:
            raise InvalidArgument(f"{self.name(key)}: {value} is out of range ({low} to {high})")
        return value

    def texts(self, key: str, limit: int = 10_000, size: int = 4096) -> tuple[str, ...] | None:
        """A list of strings; None when absent."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > limit:
            raise InvalidArgument(f"{self.name(key)}: must be a list of at most {limit} strings")
        return tuple(self._text(key, item, size) for item in value)

    def words(self, key: str) -> tuple[str, ...] | None:
        """A command line: a list of strings, or (the old spelling) one string. None when absent."""
        value = self._members.get(key.lower(), (key, None))[1]
        if isinstance(value, str):
            return (self.text(key, limit=_MAX_STRING),)
        return self.texts(key, size=_MAX_STRING)

    def mapping(self, key: str, limit: int = 10_000) -> dict[str, Any]:
        """An object whose names are data; empty when absent."""
        value = self._typed(key, dict, {})
        if len(value) > limit:
            raise InvalidArgument(f"{self.name(key)}: more than {limit} entries")
        for name in value:
            self._text(key, name, 4096)
        return value

    def text_mapping(self, key: str) -> dict[str, str]:
        items = self.mapping(key)
        return {name: "" if value is None else self._text(key, value, 65536) for name, value in items.items()}

    def items(self, key: str, limit: int = 1000) -> list[Any]:
        value = self._typed(key, list, [])
        if len(value) > limit:
            raise InvalidArgument(f"{self.name(key)}: more than {limit} entries")
        return value

    def object(self, key: str) -> Fields | None:
        value = self.take(key)
        return None if value is None else Fields(value, self.name(key))

    def objects(self, key: str) -> Iterator[Fields]:
        for index, value in enumerate(self.items(key)):
            yield Fields(value, f"{self.name(key)}[{index}]")

    def finish(self) -> None:
        """Refuse what was not taken, unless it says nothing (null, false, 0, empty)."""
        for key, value in self._members.values():
            if value not in (None, False, 0, "", [], {}):
                raise InvalidArgument(f"unknown field {self.name(key)}")

    def _typed(self, key: str, kind: type[T], default: T) -> T:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            words = {bool: "true or false", dict: "an object", list: "a list"}
            raise InvalidArgument(f"{self.name(key)}: must be {words[kind]}")
        return value

    def _text(self, key: str, value: Any, limit: int) -> str:
        if not isinstance(value, str):
            raise InvalidArgument(f"{self.name(key)}: must be a string")
        if len(value) > limit:
            raise InvalidArgument(f"{self.name(key)}: longer than {limit} characters")
        if "\0" in value:
            raise InvalidArgument(f"{self.name(key)}: contains a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidArgument(f"{self.name(key)}: is not valid Unicode") from None
        return value
