# SPDX-License-Identifier: Apache-2.0
"""The whole document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hypercell import __version__
from hypercell.api.docker import unbuilt
from hypercell.api.docker.application import TABLES
from hypercell.api.docker.engine import Engine
from hypercell.api.docker.version import NEWEST_TEXT, OLDEST_TEXT
from hypercell.api.http import Route
from hypercell.api.openapi import containers, engine, images, models, networks, streams, swarm, volumes
from hypercell.api.openapi.operation import Descriptions, Operation, as_json
from hypercell.api.openapi.schema import TEXT, record

KINDS: dict[str, Descriptions] = {
    "containers": containers.OPERATIONS,
    "streams": streams.OPERATIONS,
    "images": images.OPERATIONS,
    "networks": networks.OPERATIONS,
    "volumes": volumes.OPERATIONS,
    "engine": engine.OPERATIONS,
    "swarm": swarm.OPERATIONS,
}
DESCRIPTIONS = {route: (kind, operation) for kind, table in KINDS.items() for route, operation in table.items()}
_UNBUILT = Operation("Not built", {}, (501,))
_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


def document(native: Iterable[Route[Engine]]) -> dict[str, Any]:
    """OpenAPI 3.1 of the Engine API's tables of routes and of *native* routes, without the API's version in paths."""
    paths: dict[str, dict[str, Any]] = {}
    for table in (*TABLES, list(native)):
        for route in table:
            kind, operation = "unbuilt", _UNBUILT
            if table is not unbuilt.ROUTES:
                kind, operation = DESCRIPTIONS[f"{route.method} {route.pattern}"]
            told = as_json(operation, kind, _PLACEHOLDER.findall(route.pattern))
            paths.setdefault(route.pattern, {}).setdefault(route.method.lower(), told)
    error = record({"message": TEXT})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hypercell: the Docker Engine API",
            "version": __version__,
            "description": f"Versions {OLDEST_TEXT} to {NEWEST_TEXT} of the Engine API, with `/v1.24` to "
            f"`/v{NEWEST_TEXT}` before each path or without; shapes are those of {NEWEST_TEXT}.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}, {"url": f"/v{NEWEST_TEXT}"}],
        "paths": paths,
        "components": {
            "schemas": {"Error": error, **models.SCHEMAS},
            "responses": {
                "Error": {
                    "description": "what is wrong, and what to do next",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
            },
        },
    }
