# SPDX-License-Identifier: Apache-2.0
"""Starting again: because the policy says so, or because the user does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from hypercell.base.errors import HypercellError, NotModified
from hypercell.node.container import Container
from hypercell.node.members import host_runs
from hypercell.node.records import Phase
from hypercell.node.restart_policy import wants_restart
from hypercell.node.starting import launch, start
from hypercell.node.types import Status

log = logging.getLogger(__name__)


async def restart(container: Container, timeout: int | None, signal: int | None) -> None:
    """Stop it, if it runs, and start it. The restart policy and auto-removal keep out of it."""
    container.refuse_unusable()
    container.restarting_by_user += 1
    try:
        await container.abort_start()
        await container.cancel_restart()
        run = container.run
        if run is not None:
            seconds = container.record.spec.stop_timeout if timeout is None else timeout
            await container.end_run(run, seconds, signal)
        with contextlib.suppress(NotModified):  # another caller was quicker
            await start(container)
    finally:
        container.restarting_by_user -= 1
    container.emit("restart")


def plan(container: Container, ran_ns: int) -> None:
    """Start it again after the pause that the policy prescribes. Its status is `restarting` until then."""
    pause = container.backoff.next(ran_ns)
    work = _after(container, pause)
    container.pending_restart = container.services.tasks.spawn(work, f"restart of {container.id[:12]}")


async def _after(container: Container, pause: float) -> None:
    await asyncio.sleep(pause)
    if container.joined and not await host_runs(container):
        await _give_up(container)
        return
    async with container.lock:
        await container.vm_ended()
        if container.status is not Status.RESTARTING or container.removing:
            return
        # From here on a stop breaks into the start; it must not cancel this task in the middle of it.
        container.pending_restart = None
        began = time.time_ns()
        try:
            await launch(container, container.record.restart_count + 1)
        except HypercellError as error:
            log.warning("container %s cannot be restarted: %s", container.id[:12], error)
            await _failed(container, time.time_ns() - began)


async def _give_up(container: Container) -> None:
    """Of a member whose host was removed: it could never be started again."""
    async with container.lock:
        if container.status is Status.RESTARTING and not container.removing:
            container.pending_restart = None
            container.status = Status.EXITED
            await container.note(phase=Phase.EXITED)
            container.waits.exited(container.record.exit_code, container.record.error)


async def _failed(container: Container, ran_ns: int) -> None:
    record = container.record
    count = record.restart_count
    if container.aborted or not wants_restart(record.spec.restart, record.exit_code, count, record.stopped_by_user):
        container.status = Status.EXITED
        return
    container.status = Status.RESTARTING
    await container.note(phase=Phase.RESTARTING)
    plan(container, ran_ns)
