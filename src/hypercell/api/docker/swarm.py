# SPDX-License-Identifier: Apache-2.0
"""What a machine that is in no swarm says to whoever asks for one: 503, in dockerd's words. (To begin or to join one is
not built: `unbuilt`.)"""

from __future__ import annotations

from collections.abc import Iterator

from hypercell.api.docker.engine import Call, Engine
from hypercell.api.http import Reply, Route
from hypercell.base.errors import Unavailable

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
_OWN = ("nodes", "services", "secrets", "configs")
_MANAGERS = [
    "GET /swarm",
    "GET /swarm/unlockkey",
    "POST /swarm/update",
    "POST /swarm/unlock",
    *(f"GET /{kind}" for kind in (*_OWN, "tasks")),
    *(f"GET /{kind}/{{name}}" for kind in (*_OWN, "tasks")),
    *(f"POST /{kind}/create" for kind in _OWN if kind != "nodes"),
    *(f"POST /{kind}/{{name}}/update" for kind in _OWN),
    *(f"DELETE /{kind}/{{name}}" for kind in _OWN),
    "GET /services/{name}/logs",
    "GET /tasks/{name}/logs",
]
_UNREAD = 1 << 40
"""A body may be announced at any size: it is not read."""


async def no_manager(call: Call) -> Reply:
    raise Unavailable(_NO_MANAGER)


async def update_volume(call: Call) -> Reply:
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


async def leave(call: Call) -> Reply:
    raise Unavailable("This node is not part of a swarm")


def _routes() -> Iterator[Route[Engine]]:
    for text in _MANAGERS:
        method, _, pattern = text.partition(" ")
        yield Route(method, pattern, no_manager, max_body=_UNREAD)
    yield Route("POST", "/swarm/leave", leave, max_body=_UNREAD)
    yield Route("PUT", "/volumes/{name}", update_volume, max_body=_UNREAD)


ROUTES: list[Route[Engine]] = list(_routes())
