# SPDX-License-Identifier: Apache-2.0
"""JSON Schema in few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
NOTHING: Schema = {"type": "null"}
EMPTY: Schema = {"type": "object", "additionalProperties": False}
"""An object without members: Go's set."""


def listed(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def mapped(value: Schema) -> Schema:
    """An object whose names are data."""
    return {"type": "object", "additionalProperties": value}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, NOTHING]}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def record(members: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with all of *members*, perhaps those that are *optional*, and no other."""
    properties = {**members, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(members),
        "additionalProperties": False,
    }


def wished(schema: Schema) -> Schema:
    """A record as a client may send it: nothing need be said, and null says nothing."""
    properties = {name: maybe(member) for name, member in schema["properties"].items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def named(name: str) -> Schema:
    """One of the document's own schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


TEXTS = listed(TEXT)
LABELS = mapped(TEXT)
