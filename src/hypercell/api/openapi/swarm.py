# SPDX-License-Identifier: Apache-2.0
"""Swarms, of which this machine is in none."""

from __future__ import annotations

from hypercell.api.docker.swarm import ROUTES
from hypercell.api.openapi.operation import Descriptions, Operation

OPERATIONS: Descriptions = {
    f"{route.method} {route.pattern}": Operation("There is no swarm", {}, (503,)) for route in ROUTES
}
