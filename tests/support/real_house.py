# SPDX-License-Identifier: Apache-2.0
"""A house with real VMs, a real network and a real image store, in a network namespace of the tests' own."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from hypercell.agent import connect
from hypercell.backends.network import open_network
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.cloud import codec, open_cloud
from hypercell.cloud.sample import sample
from hypercell.images.store import open_store
from hypercell.node import open_node
from hypercell.vm import find_kernel, open_driver
from tests.support import images as made
from tests.support.house import Resident, T, eventually

POLITE = "trap 'exit 143' TERM; trap 'exit 130' INT; trap 'exit 138' USR1; echo up; while :; do sleep 0.1; done"


class RealHouse(Resident):
    stubborn = ("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    denied = "/etc/passwd"

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory)
        self.config = replace(
            Config(),
            root=directory / "root",
            run=directory / "run",
            bridge="hcnode0",
            subnet="172.29.0.0/24",
            **{"rootfs_size": 256 * 1024**2, "pool_memory": 0, **settings},
        )

    async def open(self) -> Self:
        for path in (self.config.root, self.config.run):
            path.mkdir(parents=True, exist_ok=True)
        self.stack = contextlib.AsyncExitStack()
        self.driver = open_driver(self.config)
        self.stack.push_async_callback(self.driver.close)
        self.db = await Database.open(self.config.database)
        self.stack.push_async_callback(self.db.close)
        self.network = await open_network(self.config, self.db)
        await self.network.start()
        self.stack.push_async_callback(self.network.close)
        images = await open_store(self.config, self.db)
        kernel = find_kernel(self.config)
        node = await open_node(
            *(self.config, self.db, self.driver, kernel, images, self.network, connect),
            check_extension=codec.load,
            sample=sample(kernel.release),
        )
        self.cloud = await open_cloud(self.config, self.db, node, images)
        self.images = images
        node.listen(self.events.append)
        return self

    async def load(self) -> None:
        """The busybox image."""

        async def archive() -> AsyncIterator[bytes]:
            layout = made.write_layout(self.directory / "layout", {"busybox:latest": made.busybox()})
            packed = BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as tar:
                tar.add(layout, arcname=".")
            yield packed.getvalue()

        await self.images.load(T, archive(), lambda progress: None)

    async def run_polite(self, **request: Any) -> str:
        ident = await self.run("sh", "-c", POLITE, **request)

        async def up() -> bool:
            return b"up" in await self.output(ident)

        await eventually(up)
        return ident

    async def close(self) -> None:
        if self.cloud is not None:
            await self.cloud.close()
            await self.stack.aclose()
            self.cloud = None

    async def destroy(self) -> None:
        """Remove every container, then the network."""
        for view in await self.containers.list(T, all=True):
            with contextlib.suppress(Exception):
                await self.containers.remove(T, view.id, force=True)
        await self.network.destroy()
        await self.close()

    def ports(self) -> set[str]:
        return set(self.network._ports.known)


@contextlib.asynccontextmanager
async def real_house(directory: Path, **settings: Any) -> AsyncIterator[RealHouse]:
    built = await RealHouse(directory, **settings).open()
    try:
        await built.load()
        yield built
    finally:
        await built.destroy()
