# SPDX-License-Identifier: Apache-2.0
"""JSON documents from strangers (manifests, indexes, configs, token answers), read strictly and within bounds.

What two parsers could read differently is refused: duplicate keys, NaN, bytes that are not UTF-8. `null` counts as
absent, because encoders written in Go write it for empty lists and maps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from hypercell.base.errors import InvalidArgument

MAX_DOCUMENT = 4 * 1024 * 1024
"""Bytes of the largest manifest, index or config that is read (distribution-spec asks registries for 4 MiB)."""


class _DuplicateKeyError(ValueError):
    pass


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in *data*. Raises `InvalidArgument` that begins with *what*."""
    value = parse(data, what)
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is not a JSON object")
    return value


def parse(data: bytes, what: str) -> Any:
    """The JSON value in *data*. Raises `InvalidArgument` that begins with *what*."""
    if len(data) > MAX_DOCUMENT:
        raise InvalidArgument(f"{what} is larger than {MAX_DOCUMENT} bytes")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
        if b"\\ud" in data.lower():
            # An escape may be half of a surrogate pair, which no encoder would let out again.
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidArgument(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise InvalidArgument(f"{what} is not valid JSON: {error}") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _DuplicateKeyError("a key occurs twice")
    return values


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


class Fields:
    """Typed access to a JSON object. Every method raises `InvalidArgument` that names the place and the key."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def wrong(self, key: str, expected: str) -> InvalidArgument:
        return InvalidArgument(f"{self.where}: {key} must be {expected}")

    def text(self, key: str, default: str = "") -> str:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def integer(self, key: str) -> int:
        value = self.values.get(key)
        if type(value) is not int:
            raise self.wrong(key, "an integer")
        return value

    def strings(self, key: str) -> tuple[str, ...] | None:
        """A list of strings; None when absent."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of strings")
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object; empty when absent."""
        value = self.values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return value

    def string_mapping(self, key: str) -> Mapping[str, str]:
        value = self.mapping(key)
        if not all(isinstance(item, str) for item in value.values()):
            raise self.wrong(key, "an object of strings")
        return value

    def child(self, key: str) -> Fields:
        """The object under *key*, which must be there."""
        if not isinstance(self.values.get(key), dict):
            raise self.wrong(key, "an object")
        return Fields(self.values[key], f"{self.where}: {key}")

    def children(self, key: str, limit: int) -> list[Fields]:
        """The objects listed under *key*; empty when absent."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, "a list of objects")
        if len(value) > limit:
            raise InvalidArgument(f"{self.where}: {key} has {len(value)} entries, more than {limit}")
        return [Fields(item, f"{self.where}: {key}[{position}]") for position, item in enumerate(value)]
