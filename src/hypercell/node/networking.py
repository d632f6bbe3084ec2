# SPDX-License-Identifier: Apache-2.0
"""Onto a network and off it, whether a container runs or not. The host's side is what counts, and comes first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypercell.base.errors import HypercellError, InvalidArgument, Unsupported
from hypercell.node.container import Container
from hypercell.node.interfaces import interfaces
from hypercell.node.network import NONE, Port, Wish

log = logging.getLogger(__name__)
Json = dict[str, Any]


Files = Callable[[Port], tuple[Json, ...]]
"""A container's `ContainerSpec.files`, which tell its programs where it is."""


async def connect(container: Container, wish: Wish, files: Files) -> None:
    """*files* are for its next start. Raises what `Network.connect` does, `Conflict`; then it is where it was."""
    async with container.lock:
        _refuse(container)
        pod, network = container.pod, container.services.network
        before = pod.port
        pod.port = await network.connect(pod.id, wish)
        try:
            await _tell_guest(container)
            await _publish(container)
            await _write_down(container, files)
        except BaseException:
            await network.disconnect(pod.id, wish.network)
            pod.port = before
            raise


async def disconnect(container: Container, network: str, files: Files) -> None:
    """Raises `NotFound`, `Conflict`."""
    async with container.lock:
        _refuse(container)
        pod = container.pod
        pod.port = await container.services.network.disconnect(pod.id, network)
        try:
            await _tell_guest(container)
            await _publish(container)
        except HypercellError as error:  # it is off the network whatever becomes of the others
            log.warning("container %s is off a network, and not well on others: %s", container.id[:12], error)
        await _write_down(container, files)


async def settle(container: Container, files: Files) -> None:
    """Finish a move that a daemon did not live to see the end of: the network's own books tell where it is, and the
    files that are written down last that the guest may not know it."""
    if container.joined:  # where it is its host is told
        return
    async with container.lock:
        if not container.record.damaged and files(container.pod.port) != container.record.spec.files:
            await _tell_guest(container)
            await _publish(container)
            await _write_down(container, files)


def _refuse(container: Container) -> None:
    container.refuse_unusable()
    if container.joined:
        raise InvalidArgument(
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network",
            "connect the container whose VM it is in",
        )
    if container.pod.port.on(NONE) is not None:
        raise Unsupported(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            "it was made without a network: create another one",
        )


async def _tell_guest(container: Container) -> None:
    pod = container.pod
    if container.run is not None and pod.vm is not None:
        members = {"interfaces": interfaces(pod.port, pod.vm.device_mac)}
        await container.agent().request("network.update", members, container.services.bounds.request)


async def _write_down(container: Container, files: Files) -> None:
    spec = replace(container.record.spec, files=files(container.pod.port))
    await container.services.records.respecify(container.pod.record, replace(container.record, spec=spec))
    container.record = replace(container.record, spec=spec)


async def _publish(container: Container) -> None:
    """Its ports lead to where it is now."""
    pod = container.pod
    if container.run is not None and pod.record.spec.publish and not pod.port.published:
        published = await container.services.network.publish(pod.id, pod.record.spec.publish)
        pod.port = replace(pod.port, published=published)
