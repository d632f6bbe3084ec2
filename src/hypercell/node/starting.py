# SPDX-License-Identifier: Apache-2.0
"""How a container starts. One row is written, one hypervisor spawned; everything else was prepared at creation."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from hypercell.agent.contract import Agent
from hypercell.base.crash import crash_point
from hypercell.base.errors import Conflict, ExecFailed, HypercellError, Internal, NotModified, VmFailed
from hypercell.base.sizes import MIB
from hypercell.node.admission import COSTS, Place
from hypercell.node.binding import make_missing
from hypercell.node.boot import reject
from hypercell.node.container import Container
from hypercell.node.ending import follow, release_clients
from hypercell.node.figures import kind_of
from hypercell.node.members import check, find_host, leave, move_in, told
from hypercell.node.plugging import plug, tell_names
from hypercell.node.pod import Pod
from hypercell.node.records import Phase, Record
from hypercell.node.run import FAILED_START, Run
from hypercell.node.tasks import together
from hypercell.node.trace import Trace
from hypercell.node.types import Status
from hypercell.node.unstarted import failed_start
from hypercell.vm.driver import Disk, Slot
from hypercell.vm.factory import Way

log = logging.getLogger(__name__)


async def start(container: Container, arrived: float = 0.0) -> None:
    """Start it for the user, whose request *arrived* then (see `Trace`).

    Raises `NotModified`, `Conflict`, `ExecFailed`, `VmFailed`, `NoSpace`, `Unavailable`.
    """
    async with container.lock:
        await container.vm_ended()
        container.refuse_unusable()
        if container.status is Status.PAUSED:
            raise Conflict("cannot start a paused container, try unpause instead")
        if container.active:
            raise NotModified(f"container {container.id} is running")
        await launch(container, 0, arrived)


async def launch(container: Container, restart_count: int, arrived: float = 0.0) -> None:
    """The start itself; the caller holds the lock."""
    before = container.record
    container.starting, container.aborted, container.ending_by_user = True, False, False
    container.host, container.vm_end = None, None
    if not container.joined:
        container.pod.doomed = False
    container.early_events.clear()
    container.trace = trace = Trace(arrived)
    try:
        if container.joined:
            container.host = await find_host(container)
        if container.volumes:
            with trace.step("volumes"):
                await container.services.claims.claim(container, container.pod)
        if not container.joined:  # its VM is there already
            if container.pod.record.spec.binds:
                await make_missing(container.pod.record.spec.binds)
            with trace.step("admission"):
                container.place = enter(container, container.pod)
                await container.place.turn()
        with container.services.factory.foreground():
            run = await _launch(container, trace, restart_count)
    except BaseException as error:
        trace.outcome = kind_of(error)
        await _undo(container, before, error)
    finally:
        if not container.joined:
            container.pod.forget_promise()
        if container.place is not None:
            container.place.leave()
            container.place = None
        container.starting = False
        trace.finish()
        container.services.figures.started(trace)
    container.run = run
    container.status = Status.RUNNING
    container.record = replace(container.record, phase=Phase.RUNNING, started_ns=time.time_ns())
    if not container.joined:
        container.pod.watch()
        container.pod.standing.set()
    container.emit("start")
    container.begin_probing()
    for event in container.early_events:
        container.on_event(event)
    tasks = container.services.tasks
    # The row says `starting` until then, which a successor understands just as well: the caller need not wait.
    tasks.spawn(container.services.records.save(container.record), f"record of {container.id[:12]}", finish=True)
    tasks.spawn(follow(container, run), f"end of {container.id[:12]}")


def enter(container: Container, pod: Pod) -> Place:
    """Up to the gate, for a VM of its shape."""
    services = container.services
    memory = pod.record.spec.memory + services.kernel.overhead_mib * MIB
    return services.admission.enter(container.record.tenant, memory, COSTS[pod.prospect()])


async def _launch(container: Container, trace: Trace, restart_count: int) -> Run:
    services, spec = container.services, container.record.spec
    services.storage.check_reserve()
    crash_point("start-begin")
    # Its clients know it from here on: those attached to a run that failed to start have been told.
    changes = {"phase": Phase.STARTING, "run": container.record.run + 1, "started_ns": time.time_ns()}
    fresh = {"exit_code": 0, "error": "", "reason": "", "oom_killed": False}
    with trace.step("database"):
        await container.save(**changes, **fresh, stopped_by_user=False, restart_count=restart_count)
    crash_point("start-recorded")
    _check_aborted(container)
    container.output.begin(container.record.run)
    with trace.step("image"):
        root = await services.images.root(spec.image_id)
    if container.joined:
        agent, run = await move_in(container, root.path, trace)
    else:
        disks = disks_of(root.path, services.storage.writable(container.id))
        agent, run = await _boot_and_publish(container, disks, trace)
    _check_aborted(container)
    container.announce()
    crash_point("container-created")
    with trace.step("process"):
        await _start_program(container, agent, run)
    crash_point("container-started")
    return run


async def _boot_and_publish(container: Container, disks: dict[Slot, Disk], trace: Trace) -> tuple[Agent, Run]:
    publishing = asyncio.ensure_future(_publish(container))
    try:
        created = await _boot(container, disks, trace)
        await publishing
    except BaseException:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        raise
    return created


async def _boot(container: Container, disks: dict[Slot, Disk], trace: Trace) -> tuple[Agent, Run]:
    """A VM that has proved to be well and nobody's copy, with the container made in it. A clone that does not is
    thrown away for a VM that came about in a slower way."""
    pod, quickest = container.pod, Way.POOL
    while True:
        agent = await pod.boot(disks, trace, quickest)
        _check_aborted(container)
        run = Run(container.id, container.record.spec, container.services)
        try:
            if container.volumes:
                with trace.step("volumes"):
                    await plug(pod, agent, container.record.spec, container.volumes)
            with trace.step("configure"):
                made = run.create(agent, container.output, container.input, container.console)
                await together(pod.configure(agent), made)
            return agent, run
        except Exception as error:
            await run.let_go()
            slower = await reject(pod, error)
            if slower is None:
                raise
            quickest = slower


async def _start_program(container: Container, agent: Agent, run: Run) -> None:
    container.run = run  # a program may end before the answer to its start arrives
    try:
        await run.start(agent)
        check(container)
    except BaseException:
        container.run = None
        run.settled.set()
        await run.let_go()
        raise


async def _publish(container: Container) -> None:
    pod = container.pod
    if pod.record.spec.publish:
        published = await container.services.network.publish(pod.id, pod.record.spec.publish)
        pod.port = replace(pod.port, published=published)


def disks_of(root: Path, writable: Path) -> dict[Slot, Disk]:
    return {Slot.ROOT: Disk(root, read_only=True), Slot.WRITABLE: Disk(writable, read_only=False)}


def _check_aborted(container: Container) -> None:
    if container.aborted:
        raise Conflict(f"container {container.id} was stopped while it started")


async def _undo(container: Container, before: Record, error: BaseException) -> NoReturn:
    """Nothing runs, nothing is published; the record says why. Raises what the user is told."""
    if isinstance(error, asyncio.CancelledError):  # the daemon ends: its successor finds the row and settles it
        if not container.joined:
            await container.pod.let_go()
        raise error
    if not isinstance(error, Exception):
        raise error
    if container.aborted and not isinstance(error, Conflict):
        error = Conflict(f"container {container.id} was stopped while it started")
    error = await _told(container, error)
    reason = error.reason if isinstance(error, VmFailed) else ""
    launched = (container.host if container.joined else container.pod.vm) is not None
    await _clear(container)
    phase = Phase.EXITED if before.ever_started else Phase.CREATED
    container.record = replace(container.record, started_ns=before.started_ns, finished_ns=before.finished_ns)
    code = error.exit_code if isinstance(error, ExecFailed) else FAILED_START
    await container.note(phase=phase, exit_code=code, error=str(error), reason=reason)
    if launched and not container.aborted:
        container.emit("die", exitCode=str(code), **({"reason": reason} if reason else {}))
    release_clients(container)
    # Whoever started it is told by the answer; clients print the error of a wait besides.
    container.waits.exited(code, "")
    raise error


async def _clear(container: Container) -> None:
    """Of a start that failed."""
    if container.joined:
        await leave(container)
        return
    try:
        await container.pod.destroy()
    except Exception:  # its clients must be told all the same
        log.exception("the VM of %s is not removed", container.id[:12])


async def _told(container: Container, error: Exception) -> HypercellError:
    """The error for the user: what really happened, in words that docker's clients know."""
    if not isinstance(error, HypercellError):
        log.error("the start of %s failed", container.id[:12], exc_info=error)
        return Internal(f"{type(error).__name__}: {error}", "see the daemon's log")
    if isinstance(error, ExecFailed):
        return failed_start(error, container.record.spec.args)
    await tell_names(container.pod, container.volumes, error)
    if container.joined:
        return await told(container, error)
    error = await container.pod.diagnose(error)
    if isinstance(error, VmFailed) and error.reason in ("boot-failed", "guest-panic", "guest-reset"):
        error.message += await _console(container)
    return error


async def _console(container: Container) -> str:
    """The last words of a guest that did not boot."""
    vm = container.pod.vm
    if vm is None:
        return ""
    try:
        lines = (await vm.console()).strip().splitlines()[-5:]
    except (HypercellError, OSError):
        return ""
    return f" (console: {' | '.join(lines)[-600:]})" if lines else ""
