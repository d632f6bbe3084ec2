# SPDX-License-Identifier: Apache-2.0
"""Plugins are not built: there are none. `docker inspect NAME` looks here for what it finds nowhere else."""

from __future__ import annotations

from hypercell.api.docker.engine import Call, Engine
from hypercell.api.http import Response, Route, json_response
from hypercell.base.errors import NotFound


async def list_plugins(call: Call) -> Response:
    return json_response([])


async def no_such_plugin(call: Call) -> Response:
    raise NotFound(f'plugin "{call.params["name"][:300]}" not found')


ROUTES: list[Route[Engine]] = [
    Route("GET", "/plugins", list_plugins),
    Route("GET", "/plugins/{name}/json", no_such_plugin),
]
