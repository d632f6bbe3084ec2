# SPDX-License-Identifier: Apache-2.0
"""`GET /metrics`: what Prometheus scrapes (docs/metrics.md)."""

from __future__ import annotations

from hypercell import __version__
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.http import Response
from hypercell.base import process
from hypercell.base.metrics import CONTENT_TYPE, Gauge, Metric, exposition


async def get_metrics(call: Call) -> Response:
    return Response(200, exposition(all_metrics(call.app)), CONTENT_TYPE)


def all_metrics(engine: Engine) -> list[Metric]:
    build = Gauge("hypercell_build_info", "Always 1; the label tells the daemon's version.", ("version",))
    return [build.set(1, __version__), *engine.machine(), engine.pulls, *process.metrics()]
