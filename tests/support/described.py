# SPDX-License-Identifier: Apache-2.0
"""Holds requests and answers to the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from hypercell.api.docker.application import TABLES
from hypercell.api.http import Router, split_version
from hypercell.api.native import ROUTES as NATIVE
from hypercell.api.openapi import document

_ROUTES = [route for table in (*TABLES, NATIVE) for route in table]
NEWEST = (1, 51)


class Document:
    """`check` raises for what is not in the document."""

    def __init__(self) -> None:
        self.json = document(NATIVE)
        self._router: Router[Any] = Router(_ROUTES)
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def check(self, method: str, target: str, sent: bytes, status: int, media_type: str, body: bytes) -> None:
        path, _, _ = target.partition("?")
        version, path = split_version(unquote(path))
        found = self._router.find(method, path)
        if found is None or (version and version < NEWEST):
            return  # documents are those of the newest version
        route, _ = found
        where = f"{route.method} {route.pattern}"
        operation = self.json["paths"][route.pattern][route.method.lower()]
        assert str(status) in operation["responses"], f"{where}: answer {status} is not described: {body[:300]!r}"
        answer = self._resolved(operation["responses"][str(status)])
        kind = media_type.partition(";")[0]
        if body:
            assert kind in answer.get("content", {}), f"{where}: {status} as {kind} is not described"
            schema = answer["content"][kind].get("schema")
            if kind == "application/json" and schema is not None:
                for line in body.splitlines():
                    self._conforms(f"{where} {status}", schema, json.loads(line))
        wanted = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if sent.strip() and wanted is not None and status < 400:
            self._conforms(f"{where} request", wanted["schema"], json.loads(sent))

    def _resolved(self, answer: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in answer:
            return answer
        return self.json["components"]["responses"][answer["$ref"].rpartition("/")[2]]

    def _conforms(self, what: str, schema: dict[str, Any], value: Any) -> None:
        if what not in self._validators:
            whole = {**schema, "components": self.json["components"]}
            self._validators[what] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        for error in self._validators[what].iter_errors(value):
            raise AssertionError(f"{what}: {error.instance_path}: {error.message[:500]}")
