# SPDX-License-Identifier: Apache-2.0
"""The node: all pods and containers of this machine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from hypercell.base.errors import HypercellError, NotFound, NotModified
from hypercell.node import recovery, removal, restarting, rows, starting
from hypercell.node.container import Container
from hypercell.node.crash import crash_point
from hypercell.node.network import Port
from hypercell.node.pod import Pod
from hypercell.node.records import Phase, PodRecord, Record
from hypercell.node.services import EventSink, NodeEvent, Services
from hypercell.node.spec import ContainerSpec, PodSpec
from hypercell.node.tasks import together
from hypercell.node.types import Status
from hypercell.vm.driver import Capabilities, GuestKernel

log = logging.getLogger(__name__)

_RECOVER_AT_ONCE = 8


class Node:
    def __init__(self, services: Services) -> None:
        self.services = services
        self.containers: dict[str, Container] = {}
        """By id."""
        self._listeners: list[EventSink] = []
        services.emit = self._emit

    # Beginning and end

    async def recover(self, check: Callable[[dict[str, Any]], object]) -> None:
        """Load the records, adopt what lives, remove what belongs to nobody. Once, before anything else.

        *check* raises `ValueError` for an extension of a record that its owner cannot read.
        """
        loaded = rows.read(*await self.services.records.rows(), check)
        pods: dict[str, Pod] = {}
        for record in loaded.records:
            if record.pod not in pods:
                pods[record.pod] = Pod(loaded.pods[record.pod], self.services)
            self._add(Container(record, pods[record.pod], self.services))
        recovery.report(self.services, loaded)
        vms = await recovery.sweep(self.services, set(pods), set(self.containers), bool(loaded.nameless))
        limit = asyncio.Semaphore(_RECOVER_AT_ONCE)

        async def one(container: Container) -> None:
            async with limit:
                try:
                    await recovery.recover(container, vms)
                except Exception:  # one must not keep the daemon from the others
                    log.exception("container %s cannot be recovered", container.id[:12])

        await asyncio.gather(*map(one, list(self.containers.values())))

    async def close(self) -> None:
        """Let go: containers go on, and a successor adopts them."""
        self.services.admission.close()
        await self.services.tasks.close(self.services.bounds.close)
        for container in list(self.containers.values()):
            if container.run is not None:
                await container.run.let_go()
            await container.pod.let_go()
            container.log.close()

    def listen(self, listener: EventSink) -> None:
        """Call *listener* with every event from now on."""
        self._listeners.append(listener)

    def _emit(self, event: NodeEvent) -> None:
        for listener in self._listeners:
            listener(event)

    @property
    def capabilities(self) -> Capabilities:
        """What the hypervisor driver can do here."""
        return self.services.driver.capabilities

    @property
    def kernel(self) -> GuestKernel:
        return self.services.kernel

    # Containers

    def get(self, container_id: str) -> Container:
        try:
            return self.containers[container_id]
        except KeyError:
            raise NotFound(f"No such container: {container_id}") from None

    async def create(
        self,
        ident: str,
        tenant: str,
        name: str,
        pod_spec: PodSpec,
        build: Callable[[Port], ContainerSpec],
        extension: dict[str, Any],
    ) -> Container:
        """A container in a pod of its own, everything that can be prepared prepared.

        *build* makes its spec when its place on the network is known. Raises `Conflict` when the tenant has
        another container of that name, `NoSpace`, and what the network raises; then nothing is left.
        """
        work = self._create(ident, tenant, name, pod_spec, build, extension)
        return await self.services.tasks.complete(work, f"create {name}")

    async def _create(
        self,
        ident: str,
        tenant: str,
        name: str,
        pod_spec: PodSpec,
        build: Callable[[Port], ContainerSpec],
        extension: dict[str, Any],
    ) -> Container:
        services, now = self.services, time.time_ns()
        crash_point("create-begin")
        try:
            port, _ = await together(
                services.network.allocate(ident, tenant, pod_spec.network),
                services.storage.create(ident, pod_spec.disk_size),
            )
            crash_point("create-prepared")
            pod = PodRecord(ident, tenant, now, pod_spec, port)
            record = Record(ident, ident, tenant, name, now, build(port), extension)
            await services.records.insert(pod, record)
        except Exception:
            try:
                await services.storage.remove(ident)
            finally:
                await services.network.release(ident)
            raise
        crash_point("create-recorded")
        container = Container(record, Pod(pod, services), services)
        self._add(container)
        container.emit("create")
        return container

    def _add(self, container: Container) -> None:
        self.containers[container.id] = container
        container.forget = partial(self._forget, container.id)
        container.after_end = self._after_end

    def _forget(self, container_id: str) -> None:
        self.containers.pop(container_id, None)

    async def _after_end(self, container: Container) -> None:
        if container.removing or container.restarting_by_user:
            return
        if container.status is Status.RESTARTING:
            record = container.record
            restarting.plan(container, max(0, record.finished_ns - record.started_ns))
        elif container.record.spec.auto_remove and container.record.phase is not Phase.CREATED:
            await removal.remove(container, force=True)

    # Verbs that must run to their end even if the caller goes away

    async def start(self, container: Container) -> None:
        """A caller that is cancelled while the start still waits for its turn takes it back."""
        try:
            await self.services.tasks.complete(self._start(container), f"start {container.id[:12]}")
        except asyncio.CancelledError:
            container.give_up_waiting("whoever started it went away while it waited for its turn")
            raise

    async def _start(self, container: Container) -> None:
        try:
            await starting.start(container)
        except NotModified:
            raise
        except HypercellError:
            if container.record.spec.auto_remove and not container.active and not container.removing:
                await removal.remove(container, force=True)
            raise

    async def stop(self, container: Container, timeout: int | None = None, signal: int | None = None) -> None:
        await self.services.tasks.complete(container.stop(timeout, signal), f"stop {container.id[:12]}")

    async def restart(self, container: Container, timeout: int | None = None, signal: int | None = None) -> None:
        work = restarting.restart(container, timeout, signal)
        await self.services.tasks.complete(work, f"restart {container.id[:12]}")

    async def kill(self, container: Container, signal: int) -> None:
        await self.services.tasks.complete(container.kill(signal), f"kill {container.id[:12]}")

    async def pause(self, container: Container) -> None:
        await self.services.tasks.complete(container.pause(), f"pause {container.id[:12]}")

    async def unpause(self, container: Container) -> None:
        await self.services.tasks.complete(container.unpause(), f"unpause {container.id[:12]}")

    async def remove(self, container: Container, force: bool = False) -> None:
        await self.services.tasks.complete(removal.remove(container, force), f"remove {container.id[:12]}")

    async def rename(self, container: Container, name: str) -> None:
        """Raises `Conflict`."""
        container.refuse_unusable()
        renamed = await self.services.records.rename(container.record, name)

        container.record = replace(container.record, name=renamed.name)
