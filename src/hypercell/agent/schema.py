# SPDX-License-Identifier: Apache-2.0
"""Checks of values that came as JSON from somebody hostile.

A check takes a value and returns what may be believed of it, or raises `Mismatch`. Members that no check names are
left out, so that nothing unchecked travels on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Check = Callable[[Any], Any]

MAX_INTEGER: Final = 2**63 - 1
"""What SQLite and every client can hold."""

ABSENT: Final = object()
"""As a default: leave the member out."""


class Mismatch(Exception):
    """The text says where and why: `containers[2].pid: not an integer`."""

    def inside(self, place: str) -> Mismatch:
        text = str(self)
        return Mismatch(place + text if text[0] in ":[" else f"{place}.{text}")


def integer(low: int = 0, high: int = MAX_INTEGER) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int:
            raise Mismatch(": not an integer")
        if not low <= value <= high:
            raise Mismatch(f": not within {low} and {high}")
        return value

    return check


def boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Mismatch(": not a boolean")
    return value


def pattern(expression: str) -> Check:
    """A string that a program will compare or use as a key."""
    compiled = re.compile(expression)

    def check(value: Any) -> str:
        if type(value) is not str or not compiled.fullmatch(value):
            raise Mismatch(f": not a string like {expression}")
        return value

    return check


def exact(limit: int) -> Check:
    """A string that must stay as it is, such as a file name: anything that UTF-8 can hold, but NUL."""

    def check(value: Any) -> str:
        if type(value) is not str or len(value) > limit or "\0" in value:
            raise Mismatch(f": not a string of at most {limit} characters")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise Mismatch(": half a surrogate pair")
        return value

    return check


def prose(limit: int) -> Check:
    """A string for a person. Cut to *limit* characters; what a terminal would obey becomes U+FFFD."""

    def check(value: Any) -> str:
        if type(value) is not str:
            raise Mismatch(": not a string")
        return printable(value[:limit])

    return check


def printable(text: str) -> str:
    """*text* with every control, format, surrogate and unassigned character replaced."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def array(item: Check, limit: int) -> Check:
    def check(value: Any) -> list[Any]:
        if type(value) is not list:
            raise Mismatch(": not an array")
        if len(value) > limit:
            raise Mismatch(f": more than {limit} items")
        found = []
        for index, entry in enumerate(value):
            try:
                found.append(item(entry))
            except Mismatch as mismatch:
                raise mismatch.inside(f"[{index}]") from None
        return found

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, tuple[Check, Any]] | None = None) -> Check:
    """An object. *optional* gives a check and a default, which stands for null too and is checked itself."""
    optional = optional or {}

    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Mismatch(": not an object")
        found = {}
        name = ""
        try:
            for name, member in required.items():
                if name not in value:
                    raise Mismatch(": missing")
                found[name] = member(value[name])
            for name, (member, default) in optional.items():
                given = value.get(name)
                if given is not None:
                    found[name] = member(given)
                elif default is not ABSENT:
                    found[name] = member(default)
        except Mismatch as mismatch:
            raise mismatch.inside(name) from None
        return found

    return check


def mapping(key: Check, item: Check, limit: int) -> Check:
    """An object whose member names are data."""

    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict or len(value) > limit:
            raise Mismatch(f": not an object of at most {limit} members")
        return {key(name): item(entry) for name, entry in value.items()}

    return check


def counters(names: str) -> Check:
    """An object of numbers; one that is missing is 0."""
    return record({}, {name: (integer(), 0) for name in names.split()})
