# SPDX-License-Identifier: Apache-2.0
"""How a container goes. Its row goes first, in one transaction: from then on all else is a leftover, which either this
daemon removes (`teardown`) or its successor when it comes up."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial

from hypercell.base.crash import crash_point
from hypercell.base.errors import Conflict, NoSpace
from hypercell.node.container import KILLED, Container
from hypercell.node.ending import end_vm, release_clients
from hypercell.node.members import is_outlived, leave
from hypercell.node.run import Ending
from hypercell.node.types import Status
from hypercell.node.volumes import Volume


async def remove(container: Container, force: bool, volumes: bool = False) -> None:
    """With *volumes*, those go too that nobody named and no other container uses.

    Raises `Conflict` when it runs (without *force*), or when somebody else removes it already.
    """
    if container.removing:
        raise Conflict(f"removal of container {container.record.name} is already in progress")
    if not force and (container.active or (container.starting and container.waiting is None)):
        _refuse(container)
    container.removing = True
    teardown = container.services.teardown
    try:
        await teardown.enter()
        try:
            await _take_away(container, volumes)
        except BaseException:
            teardown.leave()
            raise
    except BaseException:
        container.removing = False
        raise
    release_clients(container)
    container.log.close()
    container.forget()
    _leave_pod(container)
    record = container.record
    # Why it could not even start, whoever started it has been told.
    container.waits.removed(record.exit_code, record.error if record.ever_started else "")
    container.emit("destroy")
    teardown.begin(container.id, "" if container.joined else container.pod.id, partial(_vm_gone, container))


def _leave_pod(container: Container) -> None:
    pod = container.pod
    pod.watchers.pop(container.id, None)
    if not container.joined:
        pod.standing.set()  # those who wait for it to run need not any more


async def _take_away(container: Container, volumes: bool) -> None:
    await container.abort_start()
    await container.cancel_restart()
    await _end_run(container)
    _hasten(container)
    async with container.lock:
        if container.volumes:  # they outlive it: what it wrote must be there, and nobody have them
            await container.vm_ended()
        going = await _delete(container, volumes)
    await container.services.volumes.drop_disks(going)


def _hasten(container: Container) -> None:
    """Its VM may be writing back its disk after the end of a run, which nobody will read, or be there for somebody who
    looks at its files."""
    if container.break_off_visit is not None:
        container.break_off_visit("it was removed meanwhile")
    elif container.vm_end is not None and not container.vm_end.done() and not is_outlived(container):
        container.services.tasks.spawn(container.pod.kill(), f"kill of {container.id[:12]}")


async def _vm_gone(container: Container) -> bool:
    """The end of its last run may have seen to it, or be about to. Nothing writes into its directory any more."""
    await container.log.settle()
    if container.joined:
        return await container.vm_ended() or await leave(container)
    return await container.vm_ended() or await end_vm(container, orderly=False)


async def _delete(container: Container, volumes: bool) -> list[Volume]:
    """The volumes that are gone with it, all but their disks."""
    services = container.services
    status, container.status = container.status, Status.REMOVING
    crash_point("remove-begin")
    try:
        async with services.volumes.changing if container.pod.record.spec.volumes else nullcontext():
            going = _own_volumes(container) if volumes else []
            idents = [volume.id for volume in going]
            try:
                await services.records.delete(container.record, idents)
            except NoSpace:
                # What it wrote, and its owner gives up, may be what fills the disk: for as long as its VM has it open.
                await container.vm_ended()
                await services.storage.empty(container.id)
                await services.records.delete(container.record, idents)
            services.volumes.forget(going)
    except BaseException:
        container.status = status
        raise
    crash_point("record-deleted")
    return going


def _own_volumes(container: Container) -> list[Volume]:
    """Those that nobody named and nobody else uses, as far as that is known."""
    if container.services.claims.may_have_others(container.record.tenant):
        return []
    store, users = container.services.volumes, container.services.claims.users_by_volume()
    return [one for one in store.known(container.record.spec.own_volumes) if users.get(one.id) == [container.id]]


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
        if is_outlived(container):  # its program goes, and its guest writes back what is kept
            await container.end_by_force(run)
            await run.settled.wait()
            return
        container.ending_by_user = True
        # Of the guest nothing more is wanted, not even an answer: its end is told now, and its VM ends behind it.
        container.services.tasks.spawn(container.pod.kill(), f"kill of {container.id[:12]}")
        run.end(Ending(KILLED, time.time_ns()))
        await run.settled.wait()
