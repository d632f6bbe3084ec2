# SPDX-License-Identifier: Apache-2.0
"""Routes that docker has not: `/metrics`, `/hypercell/…`."""

from __future__ import annotations

from hypercell.api.docker.engine import Call, Engine
from hypercell.api.http import Response, Route, json_response
from hypercell.api.metrics import get_metrics


async def doctor(call: Call) -> Response:
    from hypercell.api.doctor import examine

    return json_response({"checks": await examine(call.app.config)})


async def openapi(call: Call) -> Response:
    # Nobody needs it every day, and it takes memory.
    from hypercell.api.openapi import document

    return json_response(document(ROUTES))


ROUTES: list[Route[Engine]] = [
    Route("GET", "/metrics", get_metrics),
    Route("GET", "/hypercell/doctor", doctor),
    Route("GET", "/hypercell/openapi.json", openapi),
]
