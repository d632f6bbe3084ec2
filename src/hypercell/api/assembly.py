# SPDX-License-Identifier: Apache-2.0
"""Puts the rooms together: from settings to an engine that serves."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from functools import partial

from hypercell import agent
from hypercell.api.docker import Engine, Facts
from hypercell.api.places import engine_id
from hypercell.backends.network import open_network
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import VmFailed
from hypercell.cloud import codec, open_cloud
from hypercell.cloud.contract import OPERATOR_TENANT
from hypercell.cloud.sample import sample
from hypercell.engines.build import Builder
from hypercell.images.registries import RegistryClient
from hypercell.images.store import open_store
from hypercell.node import open_node
from hypercell.node.metrics import metrics
from hypercell.vm import find_kernel, find_program, open_driver, probe
from hypercell.vm.driver import Driver, GuestKernel

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def assembled(config: Config) -> AsyncIterator[Engine]:
    """An engine with everything recovered that an earlier daemon left. On leaving, containers go on."""
    async with contextlib.AsyncExitStack() as stack:
        driver = open_driver(config)
        stack.push_async_callback(driver.close)
        kernel = find_kernel(config)
        log.info("driver %s, %s, guest kernel %s (%s)", driver.name, _accelerator(config), kernel.name, kernel.release)
        db = await Database.open(config.database)
        stack.push_async_callback(db.close)
        network = await open_network(config, db)
        stack.push_async_callback(network.close)
        await network.start()
        images = await open_store(config, db)
        node = await open_node(
            *(config, db, driver, kernel, images, network, agent.connect),
            check_extension=codec.load,
            sample=sample(kernel.release),
        )
        cloud = await open_cloud(config, db, node, images)
        stack.push_async_callback(cloud.close)
        told = _hypervisor(config, driver, kernel)
        facts = Facts(machine_id=engine_id(config), hypervisor=lambda: told)
        machine = partial(metrics, node)
        registries = RegistryClient(config)
        builds = Builder(config, cloud.containers, images)
        await builds.open(OPERATOR_TENANT)
        yield Engine(
            cloud.containers,
            cloud.volumes,
            images,
            registries,
            cloud.events,
            cloud.networks,
            config,
            builds,
            facts,
            machine=machine,
        )


def _accelerator(config: Config) -> str:
    if config.driver == "fake":
        return "no accelerator"
    chosen = probe(config)
    return f"{chosen.name} ({chosen.reason})"


def _program(config: Config, driver: Driver) -> str:
    if config.driver == "fake":
        return driver.name
    try:
        chosen = find_program(config)
    except VmFailed as error:
        return f"{driver.name} ({error.message})"
    return f"{driver.name} ({chosen.path}: {chosen.reason})"


def _hypervisor(config: Config, driver: Driver, kernel: GuestKernel) -> Mapping[str, str]:
    return {
        "Hypervisor": _program(config, driver),
        "Accelerator": _accelerator(config),
        "Guest Kernel": f"{kernel.release} ({kernel.name})",
    }
