# SPDX-License-Identifier: Apache-2.0
"""A guest in which a container's files can be looked at and changed: its own, or, while it does not run, a throw-away
one.

The throw-away guest is a VM of the container's own shape, with its disks, and passes admission as any start does. Of
the container it has the root alone (for `cp` its volumes as well), held by a process that never executes anything: no
program of a tenant runs, so a container that cannot be started can be mended. The container's lock is held meanwhile: a
start waits, a removal ends the VM. A daemon that dies leaves a VM of a container that does not run, which its successor
ends in order.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from hypercell.agent.contract import Agent
from hypercell.base.crash import crash_point
from hypercell.base.errors import Conflict, HypercellError
from hypercell.node.bare import SUPERUSER, bare
from hypercell.node.boot import reject
from hypercell.node.container import Container
from hypercell.node.network import NONE, Wish
from hypercell.node.plugging import plug, tell_names, volume_mounts
from hypercell.node.pod import Pod
from hypercell.node.records import PodRecord
from hypercell.node.starting import disks_of, enter
from hypercell.node.trace import Trace
from hypercell.vm.driver import ROOT_OF_DISKS
from hypercell.vm.factory import Way

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Visit:
    """Of a container that runs: of its own guest, and nobody is in anybody's way.

    Of another: whoever looks is to come along (`go_on`) at least every `Bounds.idle` seconds, as the container cannot
    be started meanwhile; and has to `end` it.
    """

    def __init__(self, container: Container, pod: Pod, agent: Agent, throw_away: bool = False) -> None:
        self.agent = agent
        self.wrote = False
        """What was changed must be on the disk when it is over."""
        self._container = container
        self._pod = pod
        self._throw_away = throw_away
        self._why = ""
        self._bell: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    def go_on(self) -> None:
        if self._throw_away and self._ending is None:
            self.rest()
            bound = self._container.services.bounds.idle
            self._bell = asyncio.get_running_loop().call_later(bound, self._give_up)

    def rest(self) -> None:
        """It is the guest's turn."""
        if self._bell is not None:
            self._bell.cancel()
            self._bell = None

    def _give_up(self) -> None:
        log.warning("who reads the files of %s has stopped, and is given up", self._container.id[:12])
        self.break_off("its files were not read any further")

    def break_off(self, why: str) -> None:
        """Do not wait for who looks: they find a `Conflict`."""
        self._why = why
        self._begin_end()

    async def end(self) -> None:
        """Idempotent. Returns when the throw-away guest is gone; it goes, too, if nobody waits for that."""
        if self._throw_away:
            await asyncio.shield(self._begin_end())

    def _begin_end(self) -> asyncio.Task[None]:
        if self._ending is None:
            self.rest()
            name = f"end of the visit of {self._container.id[:12]}"
            self._ending = self._container.services.tasks.spawn(self._end(), name, finish=True)
        return self._ending

    async def _end(self) -> None:
        crash_point("visit-over")
        try:
            await _leave(self._container, self._pod, orderly=self.wrote and not self._why)
        finally:
            self._container.lock.release()

    async def told(self, error: HypercellError) -> HypercellError:
        """What whoever looks is told of a failure."""
        if self._why:
            return Conflict(f"container {self._container.id}: {self._why}")
        return await self._pod.diagnose(error)


async def visit(container: Container, user: Json | None = None, volumes: bool = False) -> Visit:
    """*user* (an OCI `process.user`): whose ids `copy_uid_gid` is about. *volumes*: a throw-away guest has them too.

    Raises what a start may, but for what the container's program could be at fault for.
    """
    if container.run is None and container.recovered.is_set():
        await container.lock.acquire()
        try:
            await container.vm_ended()
            container.refuse_unusable()
            if container.run is None:
                return await _begin(container, _root_of(container, user or SUPERUSER, volumes), volumes)
        except BaseException:
            container.lock.release()
            raise
        container.lock.release()  # somebody has started it meanwhile
    return Visit(container, container.pod, container.agent())


async def _begin(container: Container, content: Json, volumes: bool) -> Visit:
    pod = await _pod(container)
    container.aborted = pod.doomed = False
    given_up = ""

    def forestall(why: str) -> None:
        nonlocal given_up
        given_up = why
        if not container.give_up_waiting(why):
            container.services.tasks.spawn(pod.kill(), f"kill of {container.id[:12]}")

    container.break_off_visit = forestall
    try:
        if volumes:
            await container.services.claims.claim(container, pod)
        agent = await _boot(container, pod, content)
    except BaseException as error:
        told = await pod.diagnose(error) if isinstance(error, HypercellError) else None
        await _leave(container, pod, orderly=False)
        if told is None:
            raise
        await tell_names(pod, container.volumes, told)
        raise (Conflict(f"container {container.id}: {given_up}") if given_up else told) from error
    here = Visit(container, pod, agent, throw_away=True)
    here.wrote = pod.writes_volumes
    container.break_off_visit = here.break_off
    return here


async def _pod(container: Container) -> Pod:
    """Whose VM the throw-away guest is. A member of another's pod gets one of its own, on no network: that one's VM may
    be running."""
    if not container.joined:
        return container.pod
    ident, record = container.id, container.record
    port = await container.services.network.allocate(ident, record.tenant, (Wish(NONE),))
    spec = replace(
        container.pod.record.spec,
        hostname=ident[:12],
        publish=(),
        sysctls={},
        disk_size=container.disk_size,
        volumes=container.volumes,
        binds=(),
    )
    container.aside = Pod(PodRecord(ident, record.tenant, record.created_ns, spec), container.services, port)
    return container.aside


async def _leave(container: Container, pod: Pod, orderly: bool) -> None:
    container.break_off_visit = None
    if orderly:
        await pod.shut_down()
    else:
        await pod.destroy()
    if container.aside is not None:
        container.aside = None
        await container.services.network.release(pod.id)


async def _boot(container: Container, pod: Pod, content: Json) -> Agent:
    """Through the gate; then a VM that has proved to be well, in whatever way, with the container's root in it."""
    services = container.services
    services.storage.check_reserve()
    container.place = place = enter(container, pod)
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
                    if pod.volumes:
                        await plug(pod, agent, container.record.spec, container.volumes)
                await agent.request("container.create", content, services.bounds.request)
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


def _root_of(container: Container, user: Json, volumes: bool) -> Json:
    spec = container.record.spec
    mounts = volume_mounts(spec) if volumes else []
    return bare(container.id, ROOT_OF_DISKS, mounts, user, spec.oci["root"].get("readonly", False))
