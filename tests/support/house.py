# SPDX-License-Identifier: Apache-2.0
"""A whole node with its cloud on a fake machine: the daemon without its HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from hypercell.agent import connect
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.cloud import Cloud, codec, open_cloud
from hypercell.cloud.contract import ContainerRequest, ContainerView, LogQuery, Output, Status
from hypercell.cloud.sample import sample
from hypercell.images.contract import Images
from hypercell.node import Bounds, Node, NodeEvent, open_node
from tests.support.image_shelf import ImageShelf
from tests.support.machine import KERNEL, Machine, MachineDriver
from tests.support.network import MemoryNetwork

T = "default"
QUICK = Bounds(request=1.0, reconnect=1.0, drain=2.0, shutdown=1.0, kill=0.5, close=1.0)


class Resident:
    """Who works with a daemon, whatever its VMs are."""

    stubborn: tuple[str, ...] = ("stubborn",)
    """A command that ignores what it may."""
    denied = "denied"
    """A program that is there and cannot be run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = Config()
        self.events: list[NodeEvent] = []
        self.cloud: Cloud | None = None

    @property
    def containers(self) -> Any:
        assert self.cloud is not None
        return self.cloud.containers

    @property
    def node(self) -> Node:
        assert self.cloud is not None
        return self.cloud.node

    async def open(self) -> Self:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def vms(self) -> list[str]:
        """Ids of all VMs of which anything is left."""
        return await self.node.services.driver.known()

    def ports(self) -> set[str]:
        """Ids of what has a place on the network."""
        raise NotImplementedError

    async def leftovers(self) -> list[str]:
        """What there is of containers when everything that ends has ended."""
        await self.settled()
        directories = [path.name for path in self.config.containers.iterdir()]
        return [*await self.vms(), *directories, *self.ports()]

    async def reopen(self) -> None:
        """The daemon ends in order and comes back."""
        await self.close()
        await self.open()

    # Short forms for tests

    async def create(self, *command: str, image: str = "busybox", **request: Any) -> str:
        ident, _ = await self.containers.create(T, ContainerRequest(image, command=command or None, **request))
        return str(ident)

    async def run(self, *command: str, **request: Any) -> str:
        ident = await self.create(*command, **request)
        await self.containers.start(T, ident)
        return ident

    async def run_polite(self, **request: Any) -> str:
        """A container that runs until a signal ends it: in a real one, no matter of course for PID 1."""
        return await self.run("sleep", "infinity", **request)

    async def wait(self, ident: str, condition: str = "not-running") -> int:
        async with asyncio.timeout(20):
            return int((await self.containers.wait(T, ident, condition))[0])

    async def view(self, ident: str) -> ContainerView:
        view = await self.containers.inspect(T, ident)
        assert isinstance(view, ContainerView)
        return view

    async def status(self, ident: str) -> Status:
        return (await self.view(ident)).state.status

    async def until(self, ident: str, status: Status) -> None:
        await eventually(lambda: self._is(ident, status))

    async def _is(self, ident: str, status: Status) -> bool:
        return await self.status(ident) is status

    async def writes(self, ident: str, expected: bytes) -> None:
        """Wait until its log is exactly that."""

        async def complete() -> bool:
            return len(await self.output(ident)) >= len(expected)

        await eventually(complete)
        assert await self.output(ident) == expected

    async def restarts(self, ident: str, count: int) -> None:
        async def enough() -> bool:
            return (await self.view(ident)).state.restart_count >= count

        await eventually(enough)

    async def output(self, ident: str, **query: Any) -> bytes:
        return b"".join([record.data async for record in self.containers.logs(T, ident, LogQuery(**query))])

    def actions(self, ident: str) -> list[str]:
        return [event.action for event in self.events if event.record.id == ident]

    def attributes(self, ident: str, action: str) -> dict[str, str]:
        """Of its last event of that kind."""
        found = [e for e in self.events if e.record.id == ident and e.action == action]
        return dict(found[-1].attributes)

    async def settled(self) -> None:
        """Until every VM that should be gone is gone, those included of which a template is made meanwhile."""
        assert self.cloud is not None
        for container in list(self.cloud.node.containers.values()):
            async with container.lock:
                await container.vm_ended()

        async def torn_down() -> bool:
            return self.node.services.teardown.pending == 0 and not self.node.services.factory._templates._builds

        await eventually(torn_down)


class House(Resident):
    """Opens and closes daemons on one machine of fake guests. With *clones*, VMs are cloned and wait in a pool;
    those that must boot do so of zygotes."""

    def __init__(self, directory: Path, machine: Machine | None = None, clones: bool = False, **settings: Any) -> None:
        super().__init__(directory)
        self.clones = clones
        self.machine = machine or Machine(directory)
        small = {"rootfs_size": 64 * 1024**2, "log_size": 200 * 1024**2, "boot_timeout": 5.0, "reserve_bytes": 0}
        small |= {"pool_memory": 200 if clones else 0}
        self.config = replace(
            Config(), root=directory / "root", run=directory / "run", guest_dir=directory, **{**small, **settings}
        )
        self.bounds = QUICK
        self.network = MemoryNetwork(directory / "network.json")
        self.images = ImageShelf(directory)

    async def open(self) -> Self:
        self.config.root.mkdir(parents=True, exist_ok=True)
        self.db = await Database.open(self.config.database)
        for program in ("init", "rehearse"):
            (self.directory / program).touch()
        driver = MachineDriver(self.machine.path, templates=self.clones, zygotes=self.clones)
        images: Images = self.images  # type: ignore[assignment]
        node = await open_node(
            *(self.config, self.db, driver, KERNEL, images, self.network, connect, self.bounds, codec.load),
            sample=sample(KERNEL.release),
        )
        self.cloud = await open_cloud(self.config, self.db, node, images)
        node.listen(self.events.append)
        return self

    async def close(self) -> None:
        if self.cloud is not None:
            await self.cloud.close()
            await self.db.close()
            self.cloud = None

    def ports(self) -> set[str]:
        return set(self.network.ports)


@contextlib.asynccontextmanager
async def house(directory: Path, **settings: Any) -> AsyncIterator[House]:
    built = House(directory, **settings)
    await built.machine.start()
    try:
        yield await built.open()
    finally:
        await built.close()
        await built.machine.close()


async def read(output: AsyncIterator[tuple[Output, bytes]]) -> bytes:
    """All of it, both streams in their order."""
    return b"".join([data async for _, data in output])


async def read_until(output: AsyncIterator[tuple[Output, bytes]], wanted: bytes) -> bytes:
    got = b""
    async with asyncio.timeout(10):
        async for _, data in output:
            got += data
            if wanted in got:
                break
    return got


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait until *true* is; fail after a time that only a broken test takes."""
    async with asyncio.timeout(20):
        while not await true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
