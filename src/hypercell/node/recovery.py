# SPDX-License-Identifier: Apache-2.0
"""What a daemon does when it comes up: adopt the VMs of its predecessor, finish or undo what that one had begun."""

from __future__ import annotations

import asyncio
import logging
import time

from hypercell.base.errors import HypercellError, VmFailed
from hypercell.node.container import KILLED, VM_DIED, Container
from hypercell.node.ending import follow, release_clients
from hypercell.node.exec import Exec, ExecSpec
from hypercell.node.guest_state import ContainerState, highest_stream
from hypercell.node.members import host_of, leave, residents
from hypercell.node.pod import AGENT_LOST, POD_ENDED, WORDS
from hypercell.node.records import Phase
from hypercell.node.restart_policy import wants_restart, wants_start_with_daemon
from hypercell.node.rows import Loaded
from hypercell.node.run import FAILED_START, Run
from hypercell.node.services import Services
from hypercell.node.types import Status

log = logging.getLogger(__name__)

START_INTERRUPTED = "the daemon ended while the container was starting"


def report(services: Services, loaded: Loaded) -> None:
    """Tell the operator, once, of rows that cannot be read."""
    for record in loaded.records:
        if record.damaged:
            place = services.storage.directory(record.id)
            log.error("container %s is dead: %s; until then %s is kept", record.id, record.error, place)
    for name in loaded.nameless:
        log.error(
            "the container %s has lost its id and is left out; until its row in the table `containers` is repaired or "
            "deleted, no directory is removed from %s",
            *(name, services.config.containers),
        )


async def sweep(services: Services, pods: set[str], containers: set[str], keep_files: bool = False) -> set[str]:
    """Remove what belongs to no record: VMs, ports and, unless *keep_files*, directories. The ids of the VMs that
    stay."""
    vms = set(await services.driver.known())
    strays = list(vms - pods)
    for vm_id in strays:
        log.warning("removing the VM %s, which belongs to nobody", vm_id[:12])
    ends = await asyncio.gather(*map(services.driver.discard, strays), return_exceptions=True)
    failed = {vm_id: error for vm_id, error in zip(strays, ends, strict=True) if error is not None}
    for vm_id, error in failed.items():  # one must not keep the daemon from the others
        log.error("the VM %s is left over", vm_id[:12], exc_info=error)
    for name in [] if keep_files else await services.storage.sweep(containers):
        log.warning("removed the directory %r, which belongs to nobody", name)
    await services.network.reconcile(pods | failed.keys())  # what may still be on the network keeps its address
    return vms & pods


def may_run(container: Container) -> bool:
    """As far as is written down."""
    return container.record.phase in (Phase.STARTING, Phase.RUNNING) and not container.record.damaged


async def recover(container: Container, vms: set[str]) -> None:
    """Bring one container and its record to agree with what there is. *vms*: ids of those that there are."""
    async with container.lock:
        if container.joined:
            await _recover_member(container)
        elif may_run(container):
            await _recover_running(container)
        elif container.pod.id in vms:
            await _end_leftover(container)
        # Its daemon may have died between the end of the VM and that of its ports.
        if container.run is None and not container.joined:
            await container.pod.withdraw()
    if container.run is not None:
        container.services.tasks.spawn(follow(container, container.run), f"end of {container.id[:12]}")
        return
    record = container.record
    if record.damaged:
        return
    if record.phase is Phase.EXITED and record.ever_started and not record.spec.auto_remove:
        stopped = record.stopped_by_user
        if wants_start_with_daemon(record.spec.restart, record.exit_code, record.restart_count, stopped):
            await container.note(phase=Phase.RESTARTING)
    if container.record.phase is Phase.RESTARTING:
        container.status = Status.RESTARTING
    if container.record.phase is not Phase.CREATED:
        await container.after_end(container)


async def _recover_running(container: Container) -> None:
    pod = container.pod
    bound = container.services.bounds.reconnect
    try:
        async with asyncio.timeout(bound):
            found = await pod.adopt()
    except (HypercellError, TimeoutError) as error:
        log.warning("the VM of %s does not answer: %s", container.id[:12], error or f"no word in {bound:g} s")
        reason = error.reason if isinstance(error, VmFailed) and error.reason != "boot-failed" else AGENT_LOST
        await _settle(container, VM_DIED, WORDS.get(reason, reason), reason)
        return
    if found is None:
        await _settle_vanished(container)
        return
    state = found.get(container.id)
    if state is None or state.init is None or state.init.status == "created":
        await _settle(container, FAILED_START, START_INTERRUPTED, "interrupted")
        return
    try:
        port = container.services.network.port(pod.id)
    except HypercellError as error:
        log.error("the VM of %s has lost its network and is ended: %s", container.id[:12], error)
        await _settle(container, VM_DIED, str(error), "unknown")
        return
    pod.port = port
    assert pod.agent is not None
    pod.agent.reserve_streams(highest_stream(found))
    _adopt(container, state)
    container.announce()
    pod.watch()
    pod.standing.set()
    await _note_adoption(container)


async def _recover_member(container: Container) -> None:
    """When it is known what became of its host, in whose guest it may be."""
    host = residents(container.pod).get(container.pod.id)
    if host is not None:
        await host.recovered.wait()
    container.host = host_of(container)
    state = container.pod.found.get(container.id) if container.host is not None else None
    if may_run(container):
        if state is not None and state.init is not None and state.init.status != "created":
            _adopt(container, state)
            await _note_adoption(container)
            return
        if container.record.phase is Phase.STARTING:
            await _settle(container, FAILED_START, START_INTERRUPTED, "interrupted")
        elif container.host is None:
            await _settle(container, KILLED, WORDS[POD_ENDED], POD_ENDED)
        else:
            await _settle(container, VM_DIED, WORDS["unknown"], "unknown")
    await leave(container)


async def _note_adoption(container: Container) -> None:
    if container.record.phase is Phase.STARTING:
        await container.note(phase=Phase.RUNNING)
    log.info("adopted container %s", container.id[:12])


def _adopt(container: Container, state: ContainerState) -> None:
    record, services, agent = container.record, container.services, container.pod.agent
    assert agent is not None and state.init is not None
    container.output.begin(record.run)
    run = Run(container.id, record.spec, services)
    container.run = run
    container.status = Status.PAUSED if state.status == "paused" else Status.RUNNING
    for process in state.processes.values():
        if process.id != "init":
            known = Exec(process.id, container.id, ExecSpec({"args": []}), services)
            container.keep_exec(known)
            known.adopt(agent, process)
    run.adopt(agent, state.init, container.output, container.input)
    container.begin_probing()
    for event in container.early_events:
        container.on_event(event)
    container.early_events.clear()


async def _settle_vanished(container: Container) -> None:
    if container.record.phase is Phase.STARTING:
        await _settle(container, FAILED_START, START_INTERRUPTED, "interrupted")
    else:
        await _settle(container, VM_DIED, WORDS["unknown"], "unknown")


async def _settle(container: Container, code: int, error: str, reason: str) -> None:
    """It runs no more, or never did. The record first, then the VM."""
    record = container.record
    restart = wants_restart(record.spec.restart, code, record.restart_count, record.stopped_by_user)
    phase = Phase.RESTARTING if restart else Phase.EXITED
    await container.note(phase=phase, exit_code=code, error=error, reason=reason, finished_ns=time.time_ns())
    container.status = Status.RESTARTING if restart else Status.EXITED
    container.emit("die", exitCode=str(code), reason=reason, error=error)
    release_clients(container)
    container.waits.exited(code, error)
    if not container.joined:
        await container.pod.destroy()


async def _end_leftover(container: Container) -> None:
    """The daemon died between the end of the program and that of its VM: let the guest write back its disk."""
    try:
        if container.record.phase is not Phase.CREATED and await container.pod.adopt() is not None:
            await container.pod.shut_down()
            return
    except HypercellError as error:
        log.warning("the VM of %s did not end in order: %s", container.id[:12], error)
    await container.pod.destroy()
