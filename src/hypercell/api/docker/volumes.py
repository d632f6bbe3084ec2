# SPDX-License-Identifier: Apache-2.0
"""Volumes are not built yet: there are none, and these answers say so."""

from __future__ import annotations

from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.http import Response, Route, json_response
from hypercell.base.errors import NotFound

_ACCEPTED = frozenset(("dangling", "driver", "label", "name"))
_PRUNE_FILTERS = frozenset(("all", "label", "label!"))


async def list_volumes(call: Call) -> Response:
    Filters.parse(call.query.get("filters"), _ACCEPTED)
    return json_response({"Volumes": [], "Warnings": None})


async def no_such_volume(call: Call) -> Response:
    name = call.params["name"][:300]
    raise NotFound(f"get {name}: no such volume")


async def prune_volumes(call: Call) -> Response:
    Filters.parse(call.query.get("filters"), _PRUNE_FILTERS)
    return json_response({"VolumesDeleted": [], "SpaceReclaimed": 0})


ROUTES: list[Route[Engine]] = [
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/prune", prune_volumes),
    Route("GET", "/volumes/{name}", no_such_volume),
    Route("DELETE", "/volumes/{name}", no_such_volume),
]
