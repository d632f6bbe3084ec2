# SPDX-License-Identifier: Apache-2.0
"""The Engine API as one application: all tables of routes, versions, and errors in docker's words."""

from __future__ import annotations

import posixpath
from urllib.parse import quote

from hypercell.api.docker import containers, images, networks, plugins, registries, swarm, system, unbuilt, volumes
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.errors import explain
from hypercell.api.docker.version import HEADERS, check_version
from hypercell.api.http import UNLIMITED, Limits, Response, Route, Router, Server
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
    swarm.ROUTES,
)


async def options(call: Call) -> Response:
    """200 to every OPTIONS, as dockerd; without any CORS header, so that no browser goes on from there."""
    return Response(200)


async def redirect(call: Call) -> Response:
    """To the same path without `//`, `.` and `..`, as dockerd's router does before it looks for anything."""
    version = f"/v{'.'.join(map(str, call.version))}" if call.version else ""
    where = quote(version + _clean(call.path)) + (f"?{call.query_text}" if call.query_text else "")
    return Response(301, headers=(("Location", where),))


def _clean(path: str) -> str:
    end = "/" if path.endswith("/") and path.strip("/") else ""
    return "/" + posixpath.normpath(path).lstrip("/") + end


_OPTIONS: Route[Engine] = Route("OPTIONS", "/", options)
_REDIRECT: Route[Engine] = Route("GET", "/", redirect, max_body=UNLIMITED)


def make_server(
    engine: Engine, more: tuple[list[Route[Engine]], ...] = (), limits: Limits | None = None
) -> Server[Engine]:
    """A server of the Engine API and of *more* tables of routes."""
    router: Router[Engine] = Router(route for table in (*TABLES, *more) for route in table)

    def find(call: Call) -> tuple[Route[Engine], dict[str, str]]:
        if ("//" in call.path or "/." in call.path) and _clean(call.path) != call.path:
            return _REDIRECT, {}
        found = router.find(call.method, call.path)
        if call.method == "OPTIONS":
            found = _OPTIONS, {}
        if found is None:
            raise NotFound("page not found")
        call.version = check_version(call.version)
        return found

    return Server(engine, find, explain, HEADERS, limits)
