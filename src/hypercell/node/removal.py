# SPDX-License-Identifier: Apache-2.0
"""How a container goes. Its row goes first, in one transaction: from then on all else is a leftover, which either this
daemon removes now or its successor when it comes up."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from hypercell.base.errors import Conflict, NoSpace
from hypercell.node.container import Container
from hypercell.node.crash import crash_point
from hypercell.node.ending import release_clients
from hypercell.node.types import Status

log = logging.getLogger(__name__)


async def remove(container: Container, force: bool) -> None:
    """Raises `Conflict` when it runs (without *force*), or when somebody else removes it already."""
    if container.removing:
        raise Conflict(f"removal of container {container.record.name} is already in progress")
    if not force and (container.active or (container.starting and container.waiting is None)):
        _refuse(container)
    container.removing = True
    try:
        await container.abort_start()
        await container.cancel_restart()
        await _end_run(container)
        async with container.lock:
            await _delete(container)
    except BaseException:
        container.removing = False
        raise
    await _clean_up(container)
    container.forget()
    container.removed.set()
    container.waits.removed(container.record.exit_code, container.record.error)
    container.emit("destroy")


async def _delete(container: Container) -> None:
    services = container.services
    status, container.status = container.status, Status.REMOVING
    crash_point("remove-begin")
    try:
        try:
            await services.records.delete(container.record)
        except NoSpace:
            # What it wrote, and its owner gives up, may be what fills the disk.
            await services.storage.empty(container.id)
            await services.records.delete(container.record)
    except BaseException:
        container.status = status
        raise
    crash_point("record-deleted")


def _refuse(container: Container) -> None:
    words = {
        Status.PAUSED: "container is paused and must be unpaused first",
        Status.RESTARTING: "container is restarting: stop the container before removing or force remove",
    }.get(container.status, "container is running: stop the container before removing or force remove")
    raise Conflict(f'cannot remove container "{container.record.name}": {words}')


async def _end_run(container: Container) -> None:
    run = container.run
    if run is not None:
        container.emit("kill", signal="9")
        container.ending_by_user = True
        await container.pod.kill()
        await run.settled.wait()


async def _clean_up(container: Container) -> None:
    services = container.services
    release_clients(container)
    container.log.close()
    steps: dict[str, Callable[[], Awaitable[None]]] = {
        "VM": container.pod.destroy,
        "port": partial(services.network.release, container.pod.id),
        "directory": partial(services.storage.remove, container.id),
    }
    for what, step in steps.items():
        crash_point(f"remove-{what.lower()}")
        try:
            await step()
        except Exception:
            # It is gone for its owner; the next start of the daemon sweeps what is left.
            log.exception("container %s was removed, but its %s is left over", container.id[:12], what)
