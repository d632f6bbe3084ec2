# SPDX-License-Identifier: Apache-2.0
"""The service behind the doors: `contract_networks.Networks`, the built-in networks and a tenant's own."""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypercell.base.errors import Forbidden, HypercellError, InvalidArgument, NotFound
from hypercell.cloud.contract import ContainerRequest, Event, Events
from hypercell.cloud.contract_networks import NetworkRecord, NetworkSpec, Wish
from hypercell.cloud.etc_files import etc_files
from hypercell.cloud.validate import check_labels
from hypercell.node import Node
from hypercell.node.container import Container
from hypercell.node.network import BRIDGE, NONE, Port
from hypercell.node.records import Record

MOST_NETWORKS = 1000
"""Of one tenant: each is an interface of the host."""
_RESERVED = ("bridge", "none", "host", "default")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_MOST_ALIASES = 100


class NetworkService:
    def __init__(
        self,
        node: Node,
        events: Events,
        container: Callable[[str, str], Container],
        request: Callable[[Record], ContainerRequest],
    ) -> None:
        """*container* finds one of a tenant's, by id, prefix or name; *request* is what was asked for when it was
        made."""
        self._node = node
        self._network = node.services.network
        self._events = events
        self._container = container
        self._request = request

    def settle(self) -> None:
        """Once, as the daemon comes up: behind everybody's back, containers finish moves that were begun."""
        for container in list(self._node.containers.values()):
            work = self._node.settle(container, self._files(container))
            self._node.services.tasks.spawn(work, f"settling of {container.id[:12]}")

    def find(self, tenant: str, ref: str) -> NetworkRecord:
        """A full id, a full name, or a unique prefix of an id; in this order, as docker."""
        seen = {record.id: record for record in self.list(tenant)}
        if ref in seen:
            return seen[ref]
        found = [record for record in seen.values() if record.spec.name == ref]
        if not found and ref:
            found = [record for ident, record in seen.items() if ident.startswith(ref)]
        if len(found) == 1:
            return found[0]
        shown = "".join(char if char.isprintable() else "?" for char in ref[:128])
        if found:
            raise InvalidArgument(f"network {shown} is ambiguous ({len(found)} matches found based on ID prefix)")
        raise NotFound(f"network {shown} not found")

    def list(self, tenant: str) -> builtins.list[NetworkRecord]:
        networks = self._network.networks.values()
        return [record for record in networks if record.built_in or record.spec.tenant == tenant]

    async def create(self, tenant: str, spec: NetworkSpec) -> NetworkRecord:
        if spec.name in _RESERVED:
            raise Forbidden(f"operation is not permitted on predefined {spec.name} network")
        if not _NAME.fullmatch(spec.name):
            raise InvalidArgument(
                f"invalid network name: {_shown(spec.name)}", "letters, digits, '_', '.' and '-'; at most 255"
            )
        check_labels(spec.door.get("Labels", {}))
        if len(self.list(tenant)) >= MOST_NETWORKS:
            raise Forbidden(f"there are {MOST_NETWORKS} networks already", "remove some: hypercell network prune")
        work = self._network.create_network(replace(spec, tenant=tenant))
        record = await self._node.services.tasks.complete(work, f"network {spec.name}")
        self._publish(tenant, record, "create")
        return record

    async def remove(self, tenant: str, ref: str) -> None:
        record = self.find(tenant, ref)
        await self._node.services.tasks.complete(self._remove(record), f"removal of network {record.spec.name}")
        self._publish(tenant, record, "destroy")

    async def _remove(self, record: NetworkRecord) -> None:
        try:
            await self._network.remove_network(record.id)
        except Forbidden:
            # Of containers that were removed just now, something may still be ending behind their owner's back.
            if not await self._node.services.teardown.settled():
                raise
            await self._network.remove_network(record.id)

    async def connect(self, tenant: str, ref: str, container: str, wish: Wish) -> None:
        record, target = self.find(tenant, ref), self._container(tenant, container)
        if record.id == NONE:
            raise Forbidden("container cannot be connected to network none", "it would be on no network: disconnect it")
        wish = replace(wish, network=record.id)
        check_wish(wish, record)
        if target.pod.port.on(record.id) is not None:
            words = f"endpoint with name {target.record.name} already exists in network {record.spec.name}"
            raise Forbidden(words, "disconnect it first")
        await self._node.connect(target, wish, self._files(target))
        self._publish(tenant, record, "connect", container=target.id)

    async def disconnect(self, tenant: str, ref: str, container: str) -> None:
        record, target = self.find(tenant, ref), self._container(tenant, container)
        if target.pod.port.on(record.id) is None:
            raise Forbidden(f"container {target.id} is not connected to network {record.spec.name}")
        await self._node.disconnect(target, record.id, self._files(target))
        self._publish(tenant, record, "disconnect", container=target.id)

    def _files(self, container: Container) -> Callable[[Port], tuple[dict[str, Any], ...]]:
        return lambda port: tuple(etc_files(self._request(container.record), port))

    async def prune(self, tenant: str, keep: Callable[[NetworkRecord], bool]) -> builtins.list[str]:
        removed = []
        for record in self.list(tenant):
            if not record.built_in and not keep(record):
                try:
                    await self.remove(tenant, record.id)
                except HypercellError:  # somebody is on it, or has removed it meanwhile
                    continue
                removed.append(record.spec.name)
        return removed

    def wishes(self, tenant: str, request: ContainerRequest) -> tuple[Wish, ...]:
        """What a container asks of its networks, each by its id. Raises `InvalidArgument`: clients take a `NotFound`
        for the image's."""
        found = []
        for wish in request.endpoints or (Wish(request.network),):
            try:
                record = self.find(tenant, wish.network)
            except NotFound as error:
                raise InvalidArgument(error.message, "hypercell network ls shows those that there are") from None
            found.append(replace(wish, network=record.id))
            check_wish(found[-1], record)
        if len({wish.network for wish in found}) < len(found):
            raise InvalidArgument("a network is named twice", "once by its name, and once by its id?")
        return tuple(found)

    def began(self, record: Record) -> None:
        """Tell of the networks that a container is on while it runs."""
        self._tell(record, "connect")

    def ended(self, record: Record) -> None:
        self._tell(record, "disconnect")

    def _tell(self, record: Record, action: str) -> None:
        container = self._node.get(record.id)
        for place in () if container.joined else container.pod.port.places:
            network = self._network.networks[place.network]
            self._publish(record.tenant, network, action, container=record.id)

    def _publish(self, tenant: str, record: NetworkRecord, action: str, **attributes: str) -> None:
        kind = "null" if record.id == NONE else "bridge"
        about = {**attributes, "name": record.spec.name, "type": kind}
        self._events.publish(Event("network", action, record.id, about, time.time_ns(), tenant))


def check_wish(wish: Wish, record: NetworkRecord) -> None:
    """Raises `InvalidArgument`."""
    if record.id in (BRIDGE, NONE):
        if wish.aliases:
            raise InvalidArgument("network-scoped aliases are only supported for user-defined networks")
        if wish.address:
            raise InvalidArgument("user-specified IP address is supported on user-defined networks only")
    if len(wish.aliases) > _MOST_ALIASES:
        raise InvalidArgument(f"more than {_MOST_ALIASES} aliases on network {record.spec.name}")
    for alias in wish.aliases:
        if not _ALIAS.fullmatch(alias):
            raise InvalidArgument(f"invalid alias {_shown(alias)}", "letters, digits, '_', '.' and '-'; at most 253")


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:100])
