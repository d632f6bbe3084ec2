# SPDX-License-Identifier: Apache-2.0
"""What the Engine API has and we do not yet: 501, naming it."""

from __future__ import annotations

from collections.abc import Iterator

from hypercell.api.docker.engine import Call, Engine
from hypercell.api.http import Handler, Reply, Route
from hypercell.base.errors import Unsupported

_UNBUILT = {
    "checkpoints": [
        "GET /containers/{name}/checkpoints",
        "POST /containers/{name}/checkpoints",
        "DELETE /containers/{name}/checkpoints/{checkpoint}",
    ],
    "BuildKit": ["POST /build/cancel", "POST /session", "POST /grpc"],
    "plugins": [
        "GET /plugins/privileges",
        "POST /plugins/pull",
        "POST /plugins/create",
        "POST /plugins/{name}/enable",
        "POST /plugins/{name}/disable",
        "POST /plugins/{name}/push",
        "POST /plugins/{name}/upgrade",
        "POST /plugins/{name}/set",
        "DELETE /plugins/{name}",
    ],
    "a swarm": ["POST /swarm/init", "POST /swarm/join"],
}
_ENOUGH_TO_SAY_NO = 1 << 40
"""A body may be announced at any size: it is not read."""


def _refuse(what: str) -> Handler[Engine]:
    async def refuse(call: Call) -> Reply:
        raise Unsupported(f"{what}: not built yet", "docs/engine-api.md lists what is")

    return refuse


def _routes() -> Iterator[Route[Engine]]:
    for what, routes in _UNBUILT.items():
        for route in routes:
            method, _, pattern = route.partition(" ")
            yield Route(method, pattern, _refuse(what), max_body=_ENOUGH_TO_SAY_NO)


ROUTES: list[Route[Engine]] = list(_routes())
