# SPDX-License-Identifier: Apache-2.0
"""What inspect and list show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from hypercell.base.errors import Internal, NotFound
from hypercell.cloud import codec
from hypercell.cloud.contract import ContainerView, ExecRequest, ExecView
from hypercell.cloud.membership import NOWHERE
from hypercell.cloud.resolve import Resolved
from hypercell.images.contract import Images
from hypercell.node.container import Container
from hypercell.node.exec import Exec
from hypercell.node.records import Record


class Views:
    def __init__(self, images: Images) -> None:
        self._images = images
        self._resolved: dict[str, tuple[Mapping[str, Any], Resolved]] = {}
        self._briefs: dict[str, tuple[tuple[Any, ...], ContainerView]] = {}
        """By container: what they were made of, and the last."""
        self.execs: WeakKeyDictionary[Exec, ExecRequest] = WeakKeyDictionary()

    def resolved(self, record: Record) -> Resolved:
        """The request behind a record; decoded once."""
        known = self._resolved.get(record.id)
        if known is None or known[0] is not record.extension:
            resolved = codec.load(record.extension) if record.extension else codec.stand_in(record.spec.image_id)
            known = self._resolved[record.id] = (record.extension, resolved)
        return known[1]

    @contextmanager
    def remembering(self, container_id: str, extension: Mapping[str, Any], resolved: Resolved) -> Iterator[None]:
        """While it is made, and for as long as it exists: nobody need decode what was encoded just now."""
        self._resolved[container_id] = (extension, resolved)
        try:
            yield
        except BaseException:
            self.forget(container_id)
            raise

    def forget(self, container_id: str) -> None:
        self._resolved.pop(container_id, None)
        self._briefs.pop(container_id, None)

    async def container(self, container: Container, size: bool = False) -> ContainerView:
        view = replace(
            self._made(container), vm=_vm(container), waiting=container.waiting, trace=container.trace, shown={}
        )
        return await self.sized(view, container) if size else view

    async def sized(self, view: ContainerView, container: Container) -> ContainerView:
        size_rw = container.services.storage.used(container.id, container.disk_size)
        return replace(view, size_rw=size_rw, size_root=size_rw + await self._image_size(container.record), shown={})

    def brief(self, container: Container) -> ContainerView:
        """Without `vm`, `waiting` and `trace`, for lists of thousands: the same object until what it shows changes."""
        pod, execs = container.pod, container.execs
        pid = pod.vm.pid if pod.vm is not None and container.run is not None else None
        running = tuple(exec_.id for exec_ in execs.values() if exec_.running) if execs else ()
        made_of = (container.record, pod.port, container.status, container.health, pid, running)
        known = self._briefs.get(container.id)
        if known is None or known[0] != made_of:
            known = self._briefs[container.id] = (made_of, self._made(container))
        return known[1]

    def _made(self, container: Container) -> ContainerView:
        record, pod = container.record, container.pod
        resolved = self.resolved(record)
        return ContainerView(
            id=record.id,
            tenant=record.tenant,
            name=record.name,
            created_ns=record.created_ns,
            request=resolved.request,
            image_id=record.spec.image_id,
            args=resolved.args,
            env=resolved.env,
            working_dir=resolved.working_dir,
            user=resolved.user,
            stop_signal=resolved.stop_signal,
            state=container.state,
            port=NOWHERE if container.joined else pod.port,
            mounts=resolved.mounts,
            exec_ids=tuple(exec_.id for exec_ in container.execs.values() if exec_.running),
        )

    async def _image_size(self, record: Record) -> int:
        try:
            return (await self._images.get(record.tenant, record.spec.image_id)).size
        except (NotFound, Internal):  # removed by force, or its record cannot be read
            return 0

    def exec(self, exec_: Exec) -> ExecView:
        request = self.execs.get(exec_, ExecRequest(args=tuple(exec_.spec.process.get("args", ()))))
        return ExecView(exec_.id, exec_.container_id, request, exec_.running, exec_.exit_code, exec_.pid)


def _vm(container: Container) -> dict[str, Any]:
    pod, services = container.pod, container.services
    spec = pod.record.spec
    return {
        "id": pod.id,
        "vcpus": spec.vcpus,
        "memory": spec.memory,
        "overhead": services.kernel.overhead_mib * 1024 * 1024,
        "kernel": services.kernel.name,
        "release": services.kernel.release,
        "accelerator": pod.vm.accelerator if pod.vm is not None else services.driver.capabilities.accelerator,
        "reason": container.record.reason,
    }
