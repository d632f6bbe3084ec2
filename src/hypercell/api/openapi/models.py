# SPDX-License-Identifier: Apache-2.0
"""The documents of the newest version of the API, by the names that docker gives them."""

from __future__ import annotations

from hypercell.api.openapi.container_models import CONTAINERS
from hypercell.api.openapi.host_config import HOST_CONFIG
from hypercell.api.openapi.image_models import IMAGES
from hypercell.api.openapi.network_models import NETWORKS
from hypercell.api.openapi.schema import Schema
from hypercell.api.openapi.stats_models import STATS

SCHEMAS: dict[str, Schema] = {**CONTAINERS, **HOST_CONFIG, **STATS, **IMAGES, **NETWORKS}
