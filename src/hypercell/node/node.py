# SPDX-License-Identifier: Apache-2.0
"""The node: all pods and containers of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hypercell.base.arrival import ARRIVED
from hypercell.base.crash import crash_point
from hypercell.base.errors import HypercellError, NotFound, NotModified
from hypercell.node import networking, recovery, removal, restarting, rows, starting
from hypercell.node.container import Container
from hypercell.node.network import Port, Wish
from hypercell.node.pod import Pod
from hypercell.node.records import Phase, PodRecord, Record
from hypercell.node.services import EventSink, NodeEvent, Services
from hypercell.node.spec import ContainerSpec, PodSpec
from hypercell.node.tasks import together
from hypercell.node.types import Status
from hypercell.node.volumes import Volume
from hypercell.vm.driver import Capabilities, GuestKernel

log = logging.getLogger(__name__)


class Node:
    def __init__(self, services: Services) -> None:
        self.services = services
        self.containers: dict[str, Container] = {}
        """By id."""
        self._listeners: list[EventSink] = []
        services.emit = self._emit
        services.claims.containers = self.containers

    # Beginning and end

    async def recover(self, check: Callable[[dict[str, Any]], object]) -> None:
        """Load the records, adopt what lives, remove what belongs to nobody. Once, before anything else.

        *check* raises `ValueError` for an extension of a record that its owner cannot read.
        """
        loaded = rows.read(*await self.services.records.rows(), check)
        pods: dict[str, Pod] = {}
        for record in loaded.records:
            if record.pod not in pods:
                pods[record.pod] = Pod(loaded.pods[record.pod], self.services, self._port(record.pod))
            container = Container(record, pods[record.pod], self.services)
            container.recovered.clear()
            self._add(container)
        recovery.report(self.services, loaded)
        self.services.claims.nameless = bool(loaded.nameless)
        homes = set(pods) & set(self.containers)  # a pod whose first container was removed has no VM, and no address
        vms = await recovery.sweep(self.services, homes, set(self.containers), bool(loaded.nameless))
        for container in sorted(self.containers.values(), key=recovery.may_run, reverse=True):
            if container.pod.id in vms:
                container.pod.hold(container.id, container.volumes, plugged=True)
        # All at once: a hundred guests that do not answer cost what one costs, and nobody waits for them to serve.
        works = [self._recover(container, vms) for container in self.containers.values()]
        tasks = [self.services.tasks.spawn(work, "recovery") for work in works]
        if tasks:
            await asyncio.wait(tasks, timeout=self.services.bounds.recovery)

    def _port(self, pod_id: str) -> Port:
        """One that is not there, or cannot be read, is on no network: it cannot start either."""
        try:
            return self.services.network.port(pod_id)
        except HypercellError:
            return Port(pod_id, (), ())

    async def _recover(self, container: Container, vms: set[str]) -> None:
        try:
            await recovery.recover(container, vms)
        except Exception:  # one must not keep the daemon from the others
            log.exception("container %s cannot be recovered", container.id[:12])
            if container.run is None and not container.record.damaged:
                container.status = Status.EXITED
        finally:
            container.recovered.set()
            self.services.claims.tell()

    async def close(self) -> None:
        """Let go: containers go on, and a successor adopts them."""
        self.services.admission.close()
        await self.services.tasks.close(self.services.bounds.close)
        await self.services.factory.close()
        for container in list(self.containers.values()):
            if container.run is not None:
                await container.run.let_go()
            await container.pod.let_go()
            container.log.close()
            await container.log.settle()

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
        wishes: tuple[Wish, ...],
        build: Callable[[Port], ContainerSpec],
        extension: dict[str, Any],
        volumes: Sequence[Volume] = (),
    ) -> Container:
        """A container in a pod of its own, everything that can be prepared prepared, on the networks of its *wishes*,
        and *volumes* that come to be with it; its caller holds `VolumeStore.changing` if it has any.

        *build* makes its spec when its place on the network is known. Raises `Conflict` when the tenant has
        another container of that name, `NoSpace`, and what the network raises; then nothing is left.
        """
        work = self._create(ident, tenant, name, pod_spec, wishes, build, extension, volumes)
        return await self.services.tasks.complete(work, f"create {name}")

    async def _create(
        self,
        ident: str,
        tenant: str,
        name: str,
        pod_spec: PodSpec,
        wishes: tuple[Wish, ...],
        build: Callable[[Port], ContainerSpec],
        extension: dict[str, Any],
        volumes: Sequence[Volume],
    ) -> Container:
        services, now = self.services, time.time_ns()
        crash_point("create-begin")
        async with self._undone(ident, volumes):
            port, *_ = await together(
                services.network.allocate(ident, tenant, wishes),
                services.storage.create(ident, pod_spec.disk_size),
                services.volumes.make_disks(volumes),
            )
            crash_point("create-prepared")
            pod = PodRecord(ident, tenant, now, pod_spec)
            record = Record(ident, ident, tenant, name, now, build(port), extension)
            await services.records.insert(pod, record, volumes)
        return self._created(record, Pod(pod, services, port), volumes)

    async def join(
        self,
        ident: str,
        tenant: str,
        name: str,
        pod: Pod,
        spec: ContainerSpec,
        extension: dict[str, Any],
        volumes: Sequence[Volume] = (),
    ) -> Container:
        """As `create`, a container in the *pod* of another. Raises `NotFound` when that one was removed meanwhile."""
        work = self._join(Record(ident, pod.id, tenant, name, time.time_ns(), spec, extension), pod, volumes)
        return await self.services.tasks.complete(work, f"create {name}")

    async def _join(self, record: Record, pod: Pod, volumes: Sequence[Volume]) -> Container:
        services, member = self.services, record.spec.member
        assert member is not None
        crash_point("create-begin")
        async with self._undone(record.id, volumes):
            await together(services.storage.create(record.id, member.disk_size), services.volumes.make_disks(volumes))
            crash_point("create-prepared")
            await services.records.insert(None, record, volumes)
        return self._created(record, pod, volumes)

    @contextlib.asynccontextmanager
    async def _undone(self, ident: str, volumes: Sequence[Volume]) -> AsyncIterator[None]:
        """Whatever was made of a container is removed on an error."""
        try:
            yield
        except Exception:
            try:
                await self.services.storage.remove(ident)
                await self.services.volumes.drop_disks(volumes)
            finally:
                await self.services.network.release(ident)
            raise

    def _created(self, record: Record, pod: Pod, volumes: Sequence[Volume]) -> Container:
        """It is written down."""
        crash_point("create-recorded")
        self.services.volumes.add(volumes)
        container = Container(record, pod, self.services)
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
            await removal.remove(container, force=True, volumes=True)

    # Verbs that must run to their end even if the caller goes away

    async def _complete(self, container: Container, verb: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do *work* as soon as it is known what became of the container while no daemon was there."""
        await container.recovered.wait()
        await self.services.tasks.complete(work(), f"{verb} {container.id[:12]}")

    async def start(self, container: Container) -> None:
        """A caller that is cancelled while the start still waits for its turn takes it back."""
        try:
            await self._complete(container, "start", lambda: self._start(container))
        except asyncio.CancelledError:
            container.give_up_waiting("whoever started it went away while it waited for its turn")
            raise

    async def _start(self, container: Container) -> None:
        try:
            await starting.start(container, ARRIVED.get())
        except NotModified:
            raise
        except HypercellError:
            if container.record.spec.auto_remove and not container.active and not container.removing:
                await removal.remove(container, force=True, volumes=True)
            raise

    async def stop(self, container: Container, timeout: int | None = None, signal: int | None = None) -> None:
        await self._complete(container, "stop", lambda: container.stop(timeout, signal))

    async def restart(self, container: Container, timeout: int | None = None, signal: int | None = None) -> None:
        await self._complete(container, "restart", lambda: restarting.restart(container, timeout, signal))

    async def kill(self, container: Container, signal: int) -> None:
        await self._complete(container, "kill", lambda: container.kill(signal))

    async def pause(self, container: Container) -> None:
        await self._complete(container, "pause", container.pause)

    async def unpause(self, container: Container) -> None:
        await self._complete(container, "unpause", container.unpause)

    async def remove(self, container: Container, force: bool = False, volumes: bool = False) -> None:
        """With *volumes*, those that nobody named and no other container uses go too."""
        await self._complete(container, "remove", lambda: removal.remove(container, force, volumes))

    async def rename(self, container: Container, name: str) -> None:
        """Raises `Conflict`."""
        container.refuse_unusable()
        renamed = await self.services.records.rename(container.record, name)

        container.record = replace(container.record, name=renamed.name)
        if container.run is not None:
            container.announce()

    async def connect(self, container: Container, wish: Wish, files: networking.Files) -> None:
        await self._complete(container, "connect", lambda: networking.connect(container, wish, files))

    async def settle(self, container: Container, files: networking.Files) -> None:
        await self._complete(container, "settling", lambda: networking.settle(container, files))

    async def disconnect(self, container: Container, network: str, files: networking.Files) -> None:
        await self._complete(container, "disconnect", lambda: networking.disconnect(container, network, files))
