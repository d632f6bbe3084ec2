# SPDX-License-Identifier: Apache-2.0
"""Pods and containers on this machine: lifecycle, logs, exec, attach, stats, restart policy, recovery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypercell.agent.contract import Connect
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.images.contract import Images
from hypercell.node.admission import Admission
from hypercell.node.figures import Figures
from hypercell.node.network import Network
from hypercell.node.node import Node
from hypercell.node.pressure import Gauge
from hypercell.node.records import Records
from hypercell.node.services import Bounds, NodeEvent, Services
from hypercell.node.storage import Storage
from hypercell.node.tasks import Tasks
from hypercell.vm.driver import Driver, GuestKernel

__all__ = ["Bounds", "Node", "NodeEvent", "open_node"]


async def open_node(
    config: Config,
    db: Database,
    driver: Driver,
    kernel: GuestKernel,
    images: Images,
    network: Network,
    connect: Connect,
    bounds: Bounds | None = None,
    check_extension: Callable[[dict[str, Any]], object] = dict,
) -> Node:
    """The node of this machine, with all that an earlier daemon left adopted or removed. *network* was started.

    *check_extension* raises `ValueError` for an extension (`Node.create`) that whoever created it cannot read.
    """
    records, storage = Records(db), Storage(config)
    await records.migrate()
    await storage.open()
    services = Services(
        config=config,
        kernel=kernel,
        driver=driver,
        images=images,
        network=network,
        connect=connect,
        records=records,
        storage=storage,
        tasks=Tasks(),
        admission=Admission(config, Gauge()),
        figures=Figures(),
        bounds=bounds or Bounds(),
        emit=lambda event: None,
    )
    node = Node(services)
    await node.recover(check_extension)
    return node
