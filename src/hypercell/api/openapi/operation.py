# SPDX-License-Identifier: Apache-2.0
"""What is said of one route: what it takes and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypercell.api.openapi.schema import FLAG, INTEGER, TEXT, TEXTS, Schema

ALWAYS = (400, 403, 413, 429)
"""Answers to every request: malformed, of a foreign web page, too large, too much at once."""
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    schema: Schema
    about: str = ""
    required: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A body: its media types, each with the schema of its document (None: bytes, or one document a line)."""

    types: Mapping[str, Schema | None] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    required: bool = False


NO_CONTENT = Content()


@dataclass(frozen=True, slots=True)
class Operation:
    summary: str
    answers: Mapping[int, Content]
    errors: tuple[int, ...] = ()
    """Of those beyond `ALWAYS`."""
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    body: Content | None = None


Descriptions = Mapping[str, Operation]
"""By `METHOD /pattern`."""


def flag(name: str, about: str = "") -> Parameter:
    """Anything but `0`, `no`, `false`, `none` and nothing is true."""
    return Parameter(name, FLAG, about)


def integer(name: str, about: str = "") -> Parameter:
    return Parameter(name, INTEGER, about)


def text(name: str, about: str = "", required: bool = False) -> Parameter:
    return Parameter(name, TEXT, about, required)


def texts(name: str, about: str = "", required: bool = False) -> Parameter:
    """A field that may be given several times."""
    return Parameter(name, TEXTS, about, required, repeated=True)


def moment(name: str, about: str = "") -> Parameter:
    """A time: seconds since 1970, RFC 3339, or a duration ago."""
    return Parameter(name, TEXT, about)


def filters(*keys: str) -> Parameter:
    told = ", ".join(f"`{key}`" for key in keys)
    return Parameter("filters", TEXT, f'JSON, `{{"key": ["value"]}}`, of {told}')


def json(schema: Schema, about: str = "", required: bool = False) -> Content:
    return Content({_JSON: schema}, about=about, required=required)


def lines(about: str) -> Content:
    """A stream of documents, one a line."""
    return Content({_JSON: None}, about=about)


def raw(*media_types: str, about: str = "", headers: Mapping[str, str] | None = None) -> Content:
    return Content(dict.fromkeys(media_types), headers or {}, about)


STREAM = raw(
    "application/vnd.docker.raw-stream",
    "application/vnd.docker.multiplexed-stream",
    about="the bytes of a terminal, or frames: one byte for the stream, three zeros, 32 bits of length, the data",
)
UPGRADED = raw(about="the connection is the stream from here on")


def as_json(operation: Operation, tag: str, placeholders: list[str]) -> dict[str, Any]:
    """The operation as OpenAPI writes it."""
    document: dict[str, Any] = {"summary": operation.summary, "tags": [tag]}
    parameters = [_parameter(Parameter(name, TEXT, required=True), "path") for name in placeholders]
    parameters += [_parameter(each, "query") for each in operation.query]
    parameters += [_parameter(each, "header") for each in operation.headers]
    if parameters:
        document["parameters"] = parameters
    if operation.body is not None:
        document["requestBody"] = _content(operation.body) | {"required": operation.body.required}
    answers = {str(status): _answer(content) for status, content in sorted(operation.answers.items())}
    errors = {str(status): {"$ref": "#/components/responses/Error"} for status in (*ALWAYS, *operation.errors)}
    moved = {"301": {"description": "the path has `//`, `.` or `..`: `Location` is the same without"}}
    document["responses"] = dict(sorted((errors | moved | answers).items()))
    return document


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    document: dict[str, Any] = {"name": parameter.name, "in": place, "schema": parameter.schema}
    if parameter.about:
        document["description"] = parameter.about
    if parameter.required:
        document["required"] = True
    if parameter.repeated:
        document |= {"style": "form", "explode": True}
    return document


def _answer(content: Content) -> dict[str, Any]:
    headers = {name: {"schema": TEXT, "description": about} for name, about in content.headers.items()}
    return {"description": content.about, **_content(content), **({"headers": headers} if headers else {})}


def _content(content: Content) -> dict[str, Any]:
    types = {kind: {} if schema is None else {"schema": schema} for kind, schema in content.types.items()}
    described = {"description": content.about} if content.about else {}
    return described | ({"content": types} if types else {})
