# SPDX-License-Identifier: Apache-2.0
"""How a container's run ends: the last bytes of output, the record, the news; then the restart policy. Its VM ends
behind that, and only the next start waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from hypercell.base.crash import crash_point
from hypercell.node.attach import RunInput
from hypercell.node.container import Container
from hypercell.node.members import end_all, explained, is_outlived, leave
from hypercell.node.output import RunOutput
from hypercell.node.pod import WORDS
from hypercell.node.records import Phase
from hypercell.node.restart_policy import wants_restart
from hypercell.node.run import Ending, Run
from hypercell.node.types import Status

log = logging.getLogger(__name__)

_EXECS_BOUND = 2.0
_RETRY_SAVE = 5.0


async def follow(container: Container, run: Run) -> None:
    """From a start (or an adoption) to the end; what comes after it is the node's to decide."""
    ending = await run.ending
    if container.removing:
        await run.let_go()  # its log goes too, and nobody waits for a guest that is being killed
    else:
        await run.drain()
    async with container.lock:
        await _settle(container, run, ending)
    await container.after_end(container)


async def _settle(container: Container, run: Run, ending: Ending) -> None:
    ending = await explained(container, ending)
    record = container.record
    restart = (
        wants_restart(record.spec.restart, ending.code, record.restart_count, record.stopped_by_user)
        and not container.removing
        and not container.restarting_by_user
    )
    container.record = replace(
        record,
        phase=Phase.RESTARTING if restart else Phase.EXITED,
        exit_code=ending.code,
        error=error_words(ending),
        reason=ending.reason,
        oom_killed=ending.oom,
        finished_ns=max(ending.at_ns, record.started_ns),  # a program may end before its start is answered
    )
    vanishes = container.removing or (record.spec.auto_remove and not restart and not container.restarting_by_user)
    crash_point("exit-seen")
    if not vanishes:  # the row goes anyway
        await _write_down(container)
    crash_point("exit-recorded")
    container.end_probing()
    await _end_execs(container)
    await _withdraw(container)
    container.run = None
    container.status = Status.RESTARTING if restart else Status.EXITED
    _tell(container, ending)
    release_clients(container)
    run.settled.set()
    if container.joined:
        work = leave(container)
    else:
        kept = not vanishes or is_outlived(container)
        work = end_vm(container, orderly=kept and not (ending.reason or container.ending_by_user))
    container.vm_end = container.services.tasks.spawn(work, f"end of the VM of {container.id[:12]}")


async def end_vm(container: Container, orderly: bool) -> bool:
    """End the VM of a run that is over; *orderly*: so that its disk holds what was written. True when it is gone."""
    try:
        await end_all(container.pod, orderly)
        if orderly:
            await container.pod.shut_down()
        else:
            await container.pod.destroy()
    except Exception:  # what comes after the end must come
        log.exception("the VM of %s is not removed", container.id[:12])
        return False
    crash_point("vm-ended")
    return True


async def _withdraw(container: Container) -> None:
    """Whoever hears of the end may publish its ports at once, and finds it by no name."""
    if container.joined:
        return
    with contextlib.suppress(Exception):  # the end of the VM tries again, and says what is wrong
        await container.pod.withdraw()


def error_words(ending: Ending) -> str:
    """What `State.error` says of a VM that ended under its container."""
    if not ending.reason:
        return ""
    words = WORDS.get(ending.reason, ending.reason)
    return f"{words}: {ending.detail}" if ending.detail else words


async def _write_down(container: Container) -> None:
    try:
        await container.services.records.save(container.record)
    except Exception:
        # The end has happened, whether or not it can be written: tell it, and try to write it again.
        log.exception("the end of %s cannot be written down", container.id[:12])
        container.services.tasks.spawn(_write_down_later(container), f"record of {container.id[:12]}")


async def _write_down_later(container: Container) -> None:
    run = container.record.run
    while container.record.run == run and not container.removing:
        await asyncio.sleep(_RETRY_SAVE)
        try:
            await container.services.records.save(container.record)
        except Exception as error:
            log.warning("the end of %s still cannot be written down: %s", container.id[:12], error)
        else:
            return


async def _end_execs(container: Container) -> None:
    """They have been killed with the container; let their last output through."""
    living = [exec_ for exec_ in container.execs.values() if exec_.began and not exec_.drained]
    agent = container.pod.agent
    if living and agent is not None and not agent.closed.is_set() and not container.removing:
        await asyncio.wait([asyncio.ensure_future(exec_.drain()) for exec_ in living], timeout=_EXECS_BOUND)
    for exec_ in living:
        exec_.vm_ended()


def _tell(container: Container, ending: Ending) -> None:
    record = container.record
    seconds = max(0, ending.at_ns - record.started_ns) // 10**9
    attributes = {"exitCode": str(ending.code), "execDuration": str(seconds)}
    if ending.reason:
        attributes |= {"reason": ending.reason, "error": record.error}
    elif ending.oom:
        attributes["reason"] = "oom"
    container.emit("die", **attributes)
    container.waits.exited(ending.code, record.error)


def release_clients(container: Container) -> None:
    """This run is over for them; whoever attaches now waits for the next one."""
    output, container.output = container.output, RunOutput(container.log)
    stdin, container.input = container.input, RunInput()
    stdin.bind(None)
    output.finish()
