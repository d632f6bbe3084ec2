# SPDX-License-Identifier: Apache-2.0
"""The service behind the doors: `contract.Containers`, one tenant's containers by id, prefix or name."""

from __future__ import annotations

import builtins
import posixpath
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Any

from hypercell.base.config import Config
from hypercell.base.errors import HypercellError, InvalidArgument, NotFound
from hypercell.base.ids import new_id
from hypercell.cloud import commit, oci, signals, updates, validate
from hypercell.cloud.contract import (
    Attachment,
    Change,
    CommitRequest,
    ContainerRequest,
    ContainerView,
    Event,
    Events,
    ExecRequest,
    ExecView,
    LogQuery,
    LogRecord,
    RestartPolicy,
    Workshop,
)
from hypercell.cloud.creation import Creation, check_size
from hypercell.cloud.names import Names
from hypercell.cloud.networks import NetworkService
from hypercell.cloud.views import Views
from hypercell.cloud.volumes import VolumeService
from hypercell.images.contract import Images
from hypercell.node import Node, NodeEvent, archive, logs, usage
from hypercell.node.changes import changes
from hypercell.node.container import Container
from hypercell.node.exec import Exec, ExecSpec
from hypercell.node.layer import layer
from hypercell.node.records import Record
from hypercell.node.workshop import workshop

Json = dict[str, Any]
_SHOWN = 4096


class ContainerService:
    def __init__(self, config: Config, node: Node, images: Images, events: Events, volumes: VolumeService) -> None:
        self._node = node
        self._images = images
        self._events = events
        self._volumes = volumes
        self._names = Names()
        self._views = Views(images)
        self.networks = NetworkService(node, events, self._find, lambda record: self._views.resolved(record).request)
        self._creation = Creation(config, node, images, self._names, self._views, volumes, self.networks)
        for container in node.containers.values():
            self._names.add(container.record.tenant, container.record.name, container.id)
        node.listen(self._on_event)
        images.in_use = self.users_of
        images.runs = self._runs

    def users_of(self, image_id: str) -> builtins.list[str]:
        """Ids of the containers, of any tenant, that were made of an image."""
        users = [item.id for item in self._node.containers.values() if item.record.spec.image_id == image_id]
        return users or ["a container that is being created"] * self._creation.images_wanted[image_id]

    def _runs(self, container_id: str) -> bool:
        container = self._node.containers.get(container_id)
        return container is not None and container.active

    # Events

    def _on_event(self, event: NodeEvent) -> None:
        record = event.record
        if event.action == "create":
            self._names.add(record.tenant, record.name, record.id)
        if event.action == "start":
            self.networks.began(record)
            self._publish_mounts(record)
        self._publish(record, event.action, event.attributes)
        if event.action == "die":
            self.networks.ended(record)
            self._publish_unmounts(record)
        if event.action == "destroy":
            self._names.remove(record.tenant, record.name, record.id)
            self._views.forget(record.id)

    def _publish(self, record: Record, action: str, attributes: Mapping[str, str]) -> None:
        request = self._views.resolved(record).request
        about = {**request.labels, "image": request.image, "name": record.name, **attributes}
        self._events.publish(Event("container", action, record.id, about, time.time_ns(), record.tenant))

    def _publish_mounts(self, record: Record) -> None:
        for mount in self._views.resolved(record).mounts:
            about = {"container": record.id, "destination": mount.target, "propagation": ""}
            about["read/write"] = "false" if mount.read_only else "true"
            self._volumes.publish(record.tenant, mount.name, "mount", **about)

    def _publish_unmounts(self, record: Record) -> None:
        for mount in self._views.resolved(record).mounts:
            self._volumes.publish(record.tenant, mount.name, "unmount", container=record.id)

    def _find(self, tenant: str, ref: str) -> Container:
        return self._node.get(self._names.find(tenant, ref))

    # Life

    async def create(self, tenant: str, request: ContainerRequest) -> tuple[str, builtins.list[str]]:
        return await self._creation.create(tenant, request)

    async def start(self, tenant: str, ref: str) -> None:
        await self._node.start(self._find(tenant, ref))

    async def stop(self, tenant: str, ref: str, timeout: int | None = None, signal: str = "") -> None:
        number = signals.number(signal) if signal else None
        await self._node.stop(self._find(tenant, ref), timeout, number)

    async def restart(self, tenant: str, ref: str, timeout: int | None = None, signal: str = "") -> None:
        number = signals.number(signal) if signal else None
        await self._node.restart(self._find(tenant, ref), timeout, number)

    async def kill(self, tenant: str, ref: str, signal: str = "KILL") -> None:
        await self._node.kill(self._find(tenant, ref), signals.number(signal or "KILL"))

    async def pause(self, tenant: str, ref: str) -> None:
        await self._node.pause(self._find(tenant, ref))

    async def unpause(self, tenant: str, ref: str) -> None:
        await self._node.unpause(self._find(tenant, ref))

    async def rename(self, tenant: str, ref: str, name: str) -> None:
        container = self._find(tenant, ref)
        name, old = name.removeprefix("/"), container.record.name
        if name == old:
            raise InvalidArgument("Renaming a container with the same name as its current name", "choose another name")
        with ExitStack() as stack:
            try:
                validate.check_name(name)
                stack.enter_context(self._names.reserve(tenant, name))
            except HypercellError as error:
                error.message = f"Error when allocating new name: {error.message}"
                raise
            await self._node.rename(container, name)
            self._names.remove(tenant, old, container.id)
            self._names.add(tenant, name, container.id)
        self._publish(container.record, "rename", {"oldName": f"/{old}"})

    async def remove(self, tenant: str, ref: str, force: bool = False, volumes: bool = False) -> None:
        await self._node.remove(self._find(tenant, ref), force, volumes)

    async def wait(
        self, tenant: str, ref: str, condition: str = "not-running", ready: Callable[[], None] | None = None
    ) -> tuple[int, str]:
        return await self._find(tenant, ref).wait(condition, ready)

    async def update(
        self,
        tenant: str,
        ref: str,
        restart: RestartPolicy | None = None,
        nano_cpus: int = 0,
        memory: int = 0,
        memory_reservation: int = 0,
        pids_limit: int = 0,
        cpuset_cpus: str = "",
        cpu_shares: int = 0,
        door: Mapping[str, Any] | None = None,
    ) -> builtins.list[str]:
        container = self._find(tenant, ref)
        resolved = self._views.resolved(container.record)
        most = self._node.capabilities.max_vcpus
        asked = updates.Limits(nano_cpus, memory, memory_reservation, pids_limit, cpuset_cpus, cpu_shares, door or {})
        warnings = await updates.update(container, resolved, most, restart, asked)
        self._publish(container.record, "update", {})
        return warnings

    # Views

    async def list(self, tenant: str, all: bool = False, size: bool = False) -> builtins.list[ContainerView]:
        found = [self._node.containers[ident] for ident in self._names.ids(tenant) if ident in self._node.containers]
        found.sort(key=lambda container: container.record.created_ns, reverse=True)
        found = [container for container in found if all or container.active]
        views = [self._views.brief(container) for container in found]
        return [await self._views.sized(*pair) for pair in zip(views, found, strict=True)] if size else views

    async def inspect(self, tenant: str, ref: str, size: bool = False) -> ContainerView:
        return await self._views.container(self._find(tenant, ref), size)

    def logs(self, tenant: str, ref: str, query: LogQuery) -> AsyncIterator[LogRecord]:
        container = self._find(tenant, ref)
        container.refuse_unkept_log()
        run = container.run
        return logs.read(container.log, query, lambda: run is not None and container.run is run)

    async def top(self, tenant: str, ref: str) -> builtins.list[Json]:
        container = self._find(tenant, ref)
        rows = await usage.top(container)
        self._publish(container.record, "top", {})
        return rows

    async def stats(self, tenant: str, ref: str) -> Json:
        return await usage.stats(self._find(tenant, ref))

    # Streams

    async def attach(
        self, tenant: str, ref: str, stdin: bool, stdout: bool, stderr: bool, stream: bool = True, logs: bool = False
    ) -> Attachment:
        container = self._find(tenant, ref)
        attachment = container.attach(stdin, stdout, stderr, stream, logs)
        self._publish(container.record, "attach", {})
        return attachment

    async def resize(self, tenant: str, ref: str, rows: int, columns: int) -> None:
        _check_console(rows, columns)
        container = self._find(tenant, ref)
        await container.resize(rows, columns)
        self._publish(container.record, "resize", {"height": str(rows), "width": str(columns)})

    # Execs

    def _find_exec(self, tenant: str, exec_id: str) -> tuple[Container, Exec]:
        for ident in self._names.ids(tenant):
            container = self._node.containers.get(ident)
            if container is not None and exec_id in container.execs:
                return container, container.execs[exec_id]
        raise NotFound(f"No such exec instance: {ascii(exec_id[:100])[1:-1]}"[:160])

    async def exec_create(self, tenant: str, ref: str, request: ExecRequest) -> str:
        container = self._find(tenant, ref)
        if not request.args or not request.args[0]:
            raise InvalidArgument("No exec command specified", "name a program")
        validate.check_process_strings(request.args, request.env, request.working_dir, request.user)
        if request.console_size is not None:
            _check_console(*request.console_size)
        process = oci.exec_process(container.record.spec.oci["process"], request)
        spec = ExecSpec(
            process=process,
            tty=request.tty,
            stdin=request.attach_stdin,
            stdout=request.attach_stdout,
            stderr=request.attach_stderr,
            console_size=request.console_size,
            size=check_size(process, "the command and environment together"),
        )
        exec_ = Exec(new_id(), container.id, spec, container.services)
        container.add_exec(exec_)
        self._views.execs[exec_] = request
        self._publish(container.record, f"exec_create: {_shown(request.args)}", {"execID": exec_.id})
        return exec_.id

    async def exec_start(
        self, tenant: str, exec_id: str, detach: bool, console_size: tuple[int, int] | None = None
    ) -> Attachment | None:
        container, exec_ = self._find_exec(tenant, exec_id)
        if console_size is not None:
            _check_console(*console_size)
        request = self._views.exec(exec_).request
        self._publish(container.record, f"exec_start: {_shown(request.args)}", {"execID": exec_id})
        return await container.start_exec(exec_, detach, console_size)

    async def exec_resize(self, tenant: str, exec_id: str, rows: int, columns: int) -> None:
        _check_console(rows, columns)
        await self._find_exec(tenant, exec_id)[1].resize(rows, columns)

    async def exec_inspect(self, tenant: str, exec_id: str) -> ExecView:
        return self._views.exec(self._find_exec(tenant, exec_id)[1])

    # Files

    async def changes(self, tenant: str, ref: str) -> AsyncIterator[builtins.list[Change]]:
        return await changes(self._find(tenant, ref))

    async def export(self, tenant: str, ref: str) -> AsyncIterator[bytes]:
        container = self._find(tenant, ref)
        content = await archive.export(container)
        self._publish(container.record, "export", {})
        return content

    async def commit(self, tenant: str, ref: str, request: CommitRequest) -> str:
        container = self._find(tenant, ref)
        image = await self._images.get(tenant, container.record.spec.image_id)
        made = commit.revision(request, self._views.resolved(container.record), image.config)
        async with layer(container, request.pause) as content:
            new = await self._images.commit(tenant, image.id, content, made, request.repository, request.tag)
        about = {"imageID": new.id, "imageRef": new.tags[0] if request.repository and new.tags else ""}
        self._publish(container.record, "commit", {"comment": request.comment, **about})
        return new.id

    def layer(self, tenant: str, ref: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return layer(self._find(tenant, ref), pause=False)

    def workshop(self, tenant: str, ref: str) -> AbstractAsyncContextManager[Workshop]:
        return workshop(self._find(tenant, ref))

    async def archive_stat(self, tenant: str, ref: str, path: str) -> Json:
        return await archive.stat(self._find(tenant, ref), _checked(path))

    async def archive_get(self, tenant: str, ref: str, path: str) -> tuple[Json, AsyncIterator[bytes]]:
        container = self._find(tenant, ref)
        found = await archive.get(container, _checked(path))
        self._publish(container.record, "archive-path", {"path": path})
        return found

    async def archive_put(
        self,
        tenant: str,
        ref: str,
        path: str,
        body: AsyncIterator[bytes],
        no_overwrite_dir_non_dir: bool = False,
        copy_uid_gid: bool = False,
    ) -> None:
        container = self._find(tenant, ref)
        self._refuse_read_only_volume(container, _checked(path))
        await archive.put(container, _checked(path), body, no_overwrite_dir_non_dir, copy_uid_gid)
        self._publish(container.record, "extract-to-dir", {"path": path})

    def _refuse_read_only_volume(self, container: Container, path: str) -> None:
        """In docker's words. Links that lead into one the guest finds to be read-only itself."""
        for mount in self._views.resolved(container.record).mounts:
            if mount.read_only and f"{posixpath.normpath(path)}/".startswith(f"{mount.target}/"):
                raise InvalidArgument("mounted volume is marked read-only")

    async def prune(self, tenant: str, keep: Callable[[ContainerView], bool]) -> tuple[builtins.list[str], int]:
        removed: builtins.list[str] = []
        freed = 0
        for view in await self.list(tenant, all=True, size=True):
            container = self._node.containers.get(view.id)
            if container is None or container.active or container.starting or keep(view):
                continue
            if container.record.damaged or not container.recovered.is_set():  # nobody knows what it holds, or does
                continue
            try:
                await self._node.remove(container)
            except HypercellError:  # somebody started or removed it meanwhile
                continue
            removed.append(view.id)
            freed += view.size_rw or 0
        return removed, freed


def _shown(args: tuple[str, ...]) -> str:
    """A command in an event, of which the last thousand are kept: its beginning."""
    return " ".join(args)[:_SHOWN]


def _check_console(rows: int, columns: int) -> None:
    if not (0 <= rows < 65536 and 0 <= columns < 65536):
        raise InvalidArgument(f"invalid terminal size {rows}x{columns}")


def _checked(path: str) -> str:
    if not path or "\0" in path or len(path) > 4095:
        raise InvalidArgument("invalid path", "give a path inside the container")
    return path if path.startswith("/") else f"/{path}"
