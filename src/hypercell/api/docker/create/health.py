# SPDX-License-Identifier: Apache-2.0
"""`Healthcheck` of a create request."""

from __future__ import annotations

from hypercell.api.docker.documents import Fields
from hypercell.cloud.contract import HealthRequest

_LONGEST_WORD = 1024 * 1024


def parse_health(fields: Fields) -> HealthRequest | None:
    """None when the request says nothing. Whether it can be carried out the cloud judges."""
    health = fields.object("Healthcheck")
    if health is None:
        return None
    request = HealthRequest(
        test=health.texts("Test", size=_LONGEST_WORD) or (),
        interval=health.number("Interval"),
        timeout=health.number("Timeout"),
        start_period=health.number("StartPeriod"),
        start_interval=health.number("StartInterval"),
        retries=health.number("Retries"),
    )
    health.finish()
    return request
