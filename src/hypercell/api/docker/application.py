# SPDX-License-Identifier: Apache-2.0
"""The Engine API as one application: all tables of routes, versions, and errors in docker's words."""

from __future__ import annotations

from hypercell.api.docker import containers, images, networks, plugins, registries, system, unbuilt, volumes
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.errors import explain
from hypercell.api.docker.version import HEADERS, check_version
from hypercell.api.http import Limits, Response, Route, Router, Server
from hypercell.base.errors import NotFound

# The unbuilt first: a container may be called anything, but not `x/checkpoints/y`.
TABLES = (
    unbuilt.ROUTES,
    system.ROUTES,
    containers.ROUTES,
    images.ROUTES,
    registries.ROUTES,
    networks.ROUTES,
    volumes.ROUTES,
    plugins.ROUTES,
)


async def options(call: Call) -> Response:
    """200 to every OPTIONS, as dockerd; without any CORS header, so that no browser goes on from there."""
    return Response(200)


_OPTIONS: Route[Engine] = Route("OPTIONS", "/", options)


def make_server(
    engine: Engine, more: tuple[list[Route[Engine]], ...] = (), limits: Limits | None = None
) -> Server[Engine]:
    """A server of the Engine API and of *more* tables of routes."""
    router: Router[Engine] = Router(route for table in (*TABLES, *more) for route in table)

    def find(call: Call) -> tuple[Route[Engine], dict[str, str]]:
        found = router.find(call.method, call.path)
        if call.method == "OPTIONS":
            found = _OPTIONS, {}
        if found is None:
            raise NotFound("page not found")
        call.version = check_version(call.version)
        return found

    return Server(engine, find, explain, HEADERS, limits)
