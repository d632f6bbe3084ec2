# SPDX-License-Identifier: Apache-2.0
"""Decoded JSON as dataclasses, believed only field by field: what was written down may not be what is read."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
_LEAVES = frozenset((str, int, float, bool, type(None)))


def build(kind: type[T], values: object) -> T:
    """A dataclass of type *kind* from a JSON object, lists as tuples, nested dataclasses too.

    Raises `ValueError`, which names the field, for a value that has not its field's declared type, a field that is
    missing and has no default, and one that *kind* does not know.
    """
    return _object(kind, values, kind.__name__)


def plain(value: Any) -> Any:
    """The JSON of which `build` makes *value* again: dataclasses as objects, tuples as lists."""
    if type(value) in _LEAVES:
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if is_dataclass(value):
        return {name: plain(getattr(value, name)) for name in _names(cast(Any, type(value)))}
    return value


def text(value: Any) -> str:
    """`plain`, as JSON text. The encoder asks only about what is no JSON: of a large document, nothing is copied."""
    return _encoder.encode(value)


def _members(value: Any) -> dict[str, Any]:
    """One level of *value*."""
    if is_dataclass(value):
        return {name: getattr(value, name) for name in _names(cast(Any, type(value)))}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_members)


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(entry.name for entry in fields(kind))


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _object(kind: type[T], values: object, where: str) -> T:
    if not isinstance(values, dict):
        raise ValueError(f"{where} is no object")
    hints = _hints(cast(Any, kind))
    if unknown := values.keys() - hints.keys():
        raise ValueError(f"{where} has an unknown field {min(unknown)[:50]!r}")
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.default is MISSING and entry.default_factory is MISSING and entry.name not in values:
            raise ValueError(f"{where} lacks {entry.name}")
    return kind(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def _value(hint: Any, value: object, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (hint,) = (arm for arm in get_args(hint) if arm is not type(None))
        origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} is no list")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is no object")
        return {_value(str, name, where): _value(get_args(hint)[1], item, where) for name, item in value.items()}
    if is_dataclass(hint):
        return _object(hint, value, where)  # type: ignore[arg-type]
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: object, where: str) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:  # a bool is no number
        raise ValueError(f"{where} is no {hint.__name__}")
    if isinstance(value, str):
        value.encode()  # a lone surrogate could not be written to anybody
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is not finite")
    return value
