# SPDX-License-Identifier: Apache-2.0
"""What the handlers of the Engine API work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypercell.api.docker.facts import Facts
from hypercell.api.http import Request
from hypercell.base.config import Config
from hypercell.base.metrics import Counter, Metric
from hypercell.cloud.contract import OPERATOR_TENANT, Containers, Events, Volumes
from hypercell.cloud.contract_networks import Networks
from hypercell.engines.build import Builds
from hypercell.images.contract import Images, Registries


def new_pulls() -> Counter:
    return Counter("hypercell_image_pulls_total", "Images asked of registries, by how it went.", ("result",))


@dataclass(slots=True)
class Engine:
    containers: Containers
    volumes: Volumes
    images: Images
    registries: Registries
    events: Events
    networks: Networks
    config: Config
    builds: Builds
    facts: Facts = field(default_factory=Facts)
    tenant: str = OPERATOR_TENANT
    """The local socket is the operator."""
    machine: Callable[[], list[Metric]] = list
    """What the machine that containers run on is counted by."""
    pulls: Counter = field(default_factory=new_pulls)


Call = Request[Engine]
Json = dict[str, Any]
