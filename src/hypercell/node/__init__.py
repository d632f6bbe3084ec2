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
from hypercell.node.boot import usual_spec
from hypercell.node.figures import Figures
from hypercell.node.identity import Identities
from hypercell.node.network import Network
from hypercell.node.node import Node
from hypercell.node.pressure import Gauge
from hypercell.node.records import Records
from hypercell.node.sample import WarmingSample
from hypercell.node.services import Bounds, NodeEvent, Services
from hypercell.node.spec import ContainerSpec
from hypercell.node.storage import Storage
from hypercell.node.tasks import Tasks
from hypercell.node.teardown import Teardown
from hypercell.node.volumes import Claims, VolumeStorage, VolumeStore
from hypercell.vm.driver import Driver, GuestKernel
from hypercell.vm.factory import Factory

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
    sample: ContainerSpec | None = None,
) -> Node:
    """The node of this machine, with all that an earlier daemon left adopted or removed. *network* was started.

    *check_extension* raises `ValueError` for an extension (`Node.create`) that whoever created it cannot read. VMs of
    the pool carry out *sample* before they are anybody's.
    """
    records, storage = Records(db), Storage(config)
    await records.migrate()
    await storage.open()
    volumes = VolumeStore(db, VolumeStorage(config, storage.blanks))
    await volumes.open()
    bounds = bounds or Bounds()
    warming = WarmingSample(config, storage, sample) if sample is not None else None
    tasks, factory = Tasks(), Factory(config, driver, connect, network.spare_tap, warming)
    teardown = Teardown(network, storage, tasks)
    services = Services(
        config=config,
        kernel=kernel,
        driver=driver,
        images=images,
        network=network,
        connect=connect,
        records=records,
        storage=storage,
        volumes=volumes,
        claims=Claims(volumes, patience=config.boot_timeout),
        tasks=tasks,
        teardown=teardown,
        factory=factory,
        identities=Identities(),
        admission=Admission(
            config,
            Gauge(),
            cleanups=lambda: teardown.pending,
            relieve=lambda wanted: tasks.spawn(factory.give_up(wanted), "memory of the pool"),
        ),
        figures=Figures(),
        bounds=bounds,
        emit=lambda event: None,
    )
    node = Node(services)
    await node.recover(check_extension)
    services.factory.start(usual_spec(kernel))
    return node
