# SPDX-License-Identifier: Apache-2.0
"""Tenants' containers and what happens to them, as the doors see them (`contract`)."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.cloud.containers import ContainerService
from hypercell.cloud.contract import Containers, Events, Volumes
from hypercell.cloud.contract_networks import Networks
from hypercell.cloud.events import EventLog
from hypercell.cloud.volumes import VolumeService
from hypercell.images.contract import Images
from hypercell.node import Node

__all__ = ["Cloud", "open_cloud"]


@dataclass(frozen=True, slots=True)
class Cloud:
    containers: Containers
    volumes: Volumes
    networks: Networks
    events: Events
    node: Node

    async def close(self) -> None:
        """End the subscriptions and let go of the containers, which go on."""
        assert isinstance(self.events, EventLog)
        self.events.close()
        await self.node.close()


async def open_cloud(config: Config, db: Database, node: Node, images: Images) -> Cloud:
    """The cloud on a node that was recovered. Sets `images.in_use`."""
    events = EventLog()
    volumes = VolumeService(config, node, events)
    containers = ContainerService(config, node, images, events, volumes)
    containers.networks.settle()
    return Cloud(containers, volumes, containers.networks, events, node)
