# SPDX-License-Identifier: Apache-2.0
"""A guest in which a container's files can be looked at and changed: its own, or, while it does not run, a throw-away
one.

The throw-away guest is a VM of the container's own shape, with its disks, and passes admission as any start does. Of
the container it has the root alone, held by a process that never executes anything: no program of a tenant runs, so a
container that cannot be started can be mended. The container's lock is held meanwhile: a start waits, a removal ends
the VM. A daemon that dies leaves a VM of a container that does not run, which its successor ends in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from hypercell.agent.contract import Agent
from hypercell.base.crash import crash_point
from hypercell.base.errors import Conflict, HypercellError
from hypercell.node.boot import reject
from hypercell.node.container import Container
from hypercell.node.starting import disks_of, enter
from hypercell.node.trace import Trace
from hypercell.vm.factory import Way

log = logging.getLogger(__name__)

Json = dict[str, Any]
_ROOT = {"lower": [{"disk": "root", "fstype": "erofs"}], "upper": {"disk": "rw", "fstype": "ext4"}}
_NAMESPACES = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network")]
_DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]}
_NOBODY = {"uid": 0, "gid": 0}


class Visit:
    """Who looks is to come along (`go_on`) at least every `Bounds.idle` seconds: a throw-away guest keeps the container
    from starting, and is ended else."""

    def __init__(self, container: Container, agent: Agent, throw_away: bool) -> None:
        self.agent = agent
        self._container = container
        self._throw_away = throw_away
        self._bell: asyncio.TimerHandle | None = None
        self.go_on()

    def go_on(self) -> None:
        if self._throw_away:
            self.rest()
            bound = self._container.services.bounds.idle
            self._bell = asyncio.get_running_loop().call_later(bound, self._give_up)

    def rest(self) -> None:
        """It is the guest's turn, or all is done."""
        if self._bell is not None:
            self._bell.cancel()
            self._bell = None

    def _give_up(self) -> None:
        ident = self._container.id[:12]
        log.warning("a client that reads the files of %s has stopped, and is given up", ident)
        self._container.services.tasks.spawn(self._container.pod.kill(), f"kill of {ident}")


@contextlib.asynccontextmanager
async def visit(container: Container, user: Json | None = None, write: bool = False) -> AsyncIterator[Visit]:
    """*user* (an OCI `process.user`): whose ids `copy_uid_gid` is about. *write*: what is changed must be on the disk
    when it is over.

    Raises what a start may, but for what its program could be at fault for.
    """
    async with contextlib.AsyncExitStack() as stack:
        if container.run is None and container.recovered.is_set():
            await stack.enter_async_context(container.lock)
            await container.vm_ended()
            container.refuse_unusable()
            if container.run is None:
                agent = await stack.enter_async_context(_throw_away_guest(container, user or _NOBODY, write))
                here = Visit(container, agent, throw_away=True)
                stack.callback(here.rest)
                yield here
                return
            await stack.aclose()  # somebody has started it meanwhile
        yield Visit(container, container.agent(), throw_away=False)


@contextlib.asynccontextmanager
async def _throw_away_guest(container: Container, user: Json, write: bool) -> AsyncIterator[Agent]:
    pod = container.pod
    container.visited, pod.doomed = True, False
    orderly = False
    try:
        yield await _boot(container, user)
        orderly = write
    except HypercellError as error:
        if container.removing:
            raise Conflict(f"container {container.id} was removed meanwhile") from error
        raise await pod.diagnose(error) from error
    finally:
        crash_point("visit-over")
        try:
            await (pod.shut_down() if orderly else pod.destroy())
        finally:
            container.visited = False


async def _boot(container: Container, user: Json) -> Agent:
    """Through the gate; then a VM that has proved to be well, in whatever way, with the container's root in it."""
    services, pod = container.services, container.pod
    services.storage.check_reserve()
    container.place = place = enter(container)
    try:
        await place.turn()
        root = await services.images.root(container.record.spec.image_id)
        disks = disks_of(root.path, services.storage.writable(container.id))
        quickest = Way.POOL
        while True:
            try:
                with services.factory.foreground():
                    agent = await pod.boot(disks, Trace(), quickest)
                    crash_point("visit-booted")
                    await pod.configure(agent)
                await agent.request("container.create", _root_of(container, user), services.bounds.request)
                return agent
            except Exception as error:
                slower = await reject(pod, error)
                if slower is None:
                    raise
                quickest = slower
    finally:
        pod.forget_promise()
        place.leave()
        container.place = None


def _root_of(container: Container, user: Json) -> Json:
    """`container.create` of nothing but the root, and what an agent wants besides."""
    config = {
        "ociVersion": "1.0.2",
        "process": {"args": ["-"], "cwd": "/", "user": user},
        "root": {"path": "rootfs"},
        "mounts": [_DEV],
        "linux": {"namespaces": _NAMESPACES},
    }
    return {"container": container.id, "root": _ROOT, "config": config}
