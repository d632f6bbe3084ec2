# SPDX-License-Identifier: Apache-2.0
"""From a request to a container of the node."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from hypercell.base.config import Config
from hypercell.base.errors import Forbidden, InvalidArgument, NotFound, Unsupported
from hypercell.base.ids import new_id
from hypercell.cloud import codec, health, membership, oci, signals
from hypercell.cloud.contract import OPERATOR_TENANT, ContainerRequest, Mounted
from hypercell.cloud.etc_files import etc_files
from hypercell.cloud.mounting import inheriting, plan, pod_volumes, wants_volumes
from hypercell.cloud.names import Names
from hypercell.cloud.networks import NetworkService
from hypercell.cloud.resolve import DEFAULT_STOP_TIMEOUT, Resolved, resolve
from hypercell.cloud.validate import check_log_size, validate
from hypercell.cloud.views import Views
from hypercell.cloud.volumes import VolumeService
from hypercell.images.contract import Images
from hypercell.node import Node, binding
from hypercell.node.blanks import rounded
from hypercell.node.container import Container
from hypercell.node.network import Port, Wish
from hypercell.node.spec import ContainerSpec, PodBind, PodSpec
from hypercell.node.volumes import Volume

Json = dict[str, Any]
MAX_SPEC = 768 * 1024
"""Bytes of JSON; a frame of the agent protocol holds 1 MiB."""


class Creation:
    def __init__(
        self,
        config: Config,
        node: Node,
        images: Images,
        names: Names,
        views: Views,
        volumes: VolumeService,
        networks: NetworkService,
    ) -> None:
        self._config = config
        self._node = node
        self._images = images
        self._names = names
        self._views = views
        self._volumes = volumes
        self._networks = networks
        self.images_wanted: Counter[str] = Counter()
        """Ids of images of which a container is being made: they must not be removed now."""

    async def create(self, tenant: str, request: ContainerRequest) -> tuple[str, list[str]]:
        validate(request)
        wishes = self._networks.wishes(tenant, request)
        check_log_size(request.log, self._config.log_most)
        image = await self._images.get(tenant, request.image)
        ident = new_id()
        other = membership.find(request, lambda ref: self._node.get(self._names.find(tenant, ref)))
        if other is not None:
            request = membership.adapted(request, other, self._views.resolved(other.record).request)
        vm = other.pod.record.spec if other is not None else None
        resolved = resolve(request, image, ident, self._node.capabilities.max_vcpus, vm.vcpus if vm else 0)
        if request.volumes_from:
            resolved = replace(resolved, request=inheriting(resolved.request, partial(self._request_of, tenant)))
        if vm is not None:
            resolved = membership.within(resolved, vm, bool(request.size))
        await self._check_binds(tenant, resolved.request)
        if not wants_volumes(resolved.request):
            await self._create(tenant, ident, resolved, wishes, [], other)
        else:
            work = self._create_with_volumes(tenant, ident, resolved, wishes, other)
            await self._node.services.tasks.complete(work, f"create {ident[:12]}")
        return ident, list(resolved.warnings)

    async def _create_with_volumes(
        self, tenant: str, ident: str, resolved: Resolved, wishes: tuple[Wish, ...], other: Container | None
    ) -> None:
        async with self._node.services.volumes.changing:
            found = plan(tenant, resolved.request, self._volumes, partial(self._mounts_of, tenant))
            mounted = replace(resolved, mounts=tuple(found.mounts.values()))
            await self._create(tenant, ident, mounted, wishes, found.made, other)

    async def _check_binds(self, tenant: str, request: ContainerRequest) -> None:
        """Raises `InvalidArgument`, `Unsupported`, `Forbidden`."""
        if not request.binds:
            return
        if tenant != OPERATOR_TENANT or not self._config.binds:
            words = "directories of this machine are not given to containers here"
            raise Forbidden(words, "use a volume; the operator's setting is `binds`")
        if not self._node.capabilities.shares:
            raise Unsupported("directories of this machine cannot be shared with VMs", "install qemu-system-common")
        for bind in pod_binds(request):
            if not await binding.check(bind) and not bind.make:
                words = f'invalid mount config for type "bind": bind source path does not exist: {bind.path}'
                raise InvalidArgument(words)

    def _request_of(self, tenant: str, ref: str) -> ContainerRequest:
        return self._resolved_of(tenant, ref).request

    def _mounts_of(self, tenant: str, ref: str) -> tuple[Mounted, ...]:
        return self._resolved_of(tenant, ref).mounts

    def _resolved_of(self, tenant: str, ref: str) -> Resolved:
        try:
            container = self._node.get(self._names.find(tenant, ref))
        except NotFound as error:  # it is what was asked for that is wrong, not what was asked
            raise InvalidArgument(error.message, "volumes are taken from containers that exist") from None
        container.refuse_unusable()
        return self._views.resolved(container.record)

    async def _create(
        self,
        tenant: str,
        ident: str,
        resolved: Resolved,
        wishes: tuple[Wish, ...],
        volumes: list[Volume],
        other: Container | None,
    ) -> None:
        request, image_id = resolved.request, resolved.image_id
        document, disk_size = oci.config(resolved, self._node.kernel.release), self._disk_size(request)
        with self._names.reserve(tenant, request.name.removeprefix("/")) as name:
            self.images_wanted[image_id] += 1
            try:
                # Once more, now that it is wanted: it may have been removed since it was found, but not from here on.
                await self._images.get(tenant, image_id)
                extension = codec.dump(resolved)
                with self._views.remembering(ident, extension, resolved):
                    if other is not None:
                        spec = member_spec(resolved, document, other, disk_size)
                        await self._node.join(ident, tenant, name, other.pod, spec, extension, volumes)
                    else:
                        await self._node.create(
                            ident,
                            tenant,
                            name,
                            pod_spec(resolved, disk_size),
                            wishes,
                            lambda port: container_spec(resolved, document, port),
                            extension,
                            volumes,
                        )
            finally:
                self.images_wanted[image_id] -= 1

    def _disk_size(self, request: ContainerRequest) -> int:
        """Raises `InvalidArgument`. In steps, as a blank one of each size is kept."""
        most = self._config.rootfs_size
        if request.disk_size > most:
            words = f"a writable layer of {request.disk_size >> 20} MiB is larger than {most >> 20} MiB"
            raise InvalidArgument(words, "the operator's setting is rootfs_size")
        return min(most, rounded(request.disk_size)) or most


def pod_spec(resolved: Resolved, disk_size: int) -> PodSpec:
    request = resolved.request
    return PodSpec(
        vcpus=resolved.vcpus,
        memory=resolved.memory,
        cpu_quota=request.nano_cpus / 10**9,
        hostname=request.hostname,
        publish=request.published,
        disk_size=disk_size,
        sysctls=oci.machine_sysctls(request),
        isolation=request.isolation,
        volumes=pod_volumes(resolved.mounts),
        binds=pod_binds(request),
    )


def pod_binds(request: ContainerRequest) -> tuple[PodBind, ...]:
    return tuple(PodBind(bind.source, bind.read_only, bind.make, bind.recursive) for bind in request.binds)


def member_spec(resolved: Resolved, document: Json, other: Container, disk_size: int) -> ContainerSpec:
    """Of a container in the pod of *other*."""
    request = resolved.request
    spec = container_spec(resolved, document, membership.place(request, other))
    member = membership.membership(resolved, other, disk_size)
    return replace(spec, member=member, files=membership.files(request, spec.files, other))


def container_spec(resolved: Resolved, document: Json, port: Port) -> ContainerSpec:
    request = resolved.request
    spec = ContainerSpec(
        image_id=resolved.image_id,
        oci=document,
        files=tuple(etc_files(request, port)),
        stop_signal=signals.number(resolved.stop_signal),
        stop_timeout=DEFAULT_STOP_TIMEOUT if request.stop_timeout is None else request.stop_timeout,
        tty=request.tty,
        open_stdin=request.open_stdin,
        stdin_once=request.stdin_once,
        init=request.init,
        restart=request.restart,
        auto_remove=request.auto_remove,
        health=health.carried_out(request.health, request.shell),
        log=request.log,
        own_volumes=tuple(mount.volume for mount in resolved.mounts if mount.own),
    )
    check_size((spec.oci, spec.files), "the command, environment and profiles together")
    if spec.health is not None:
        probe = {**document["process"], "args": spec.health.args}
        check_size(probe, "the health check's command and the environment together")
    return spec


def check_size(document: object, what: str) -> int:
    """Bytes of *document* as JSON. Raises `InvalidArgument` for one that the guest could not be sent."""
    size = len(json.dumps(document))
    if size > MAX_SPEC:
        words = f"{what} are longer than {MAX_SPEC >> 10} KiB"
        raise InvalidArgument(words, "put long values into files of the image")
    return size
