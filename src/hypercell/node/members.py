# SPDX-License-Identifier: Apache-2.0
"""Members of a pod: containers that live in the VM of another, the pod's host, and in some of its namespaces.

The VM is the host's. A member needs that one to run, brings its disks along, which are plugged into the VM while it
runs, and takes them out again when it ends. When the host ends its members end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hypercell.agent.contract import Agent
from hypercell.base.crash import crash_point
from hypercell.base.errors import Conflict, HypercellError, InvalidArgument, NotFound, VmFailed
from hypercell.node.container import KILLED, SIGKILL, Container
from hypercell.node.plugging import plug, unplug
from hypercell.node.pod import LAST_WORDS, POD_ENDED, Pod
from hypercell.node.run import Ending, Run
from hypercell.node.trace import Trace
from hypercell.vm.driver import Disk, Vm

log = logging.getLogger(__name__)

Json = dict[str, Any]
WAY: Final = "pod"
"""Of the trace of a member's start, in the place of the way that a VM came about."""
_TRIES = 2
"""Of taking a member out of its guest: the connection may be lost once."""


@dataclass(frozen=True, slots=True)
class Host:
    """One run of the container that has the VM. All that is done for a member in it ends with this run."""

    container: Container
    run: Run
    vm: Vm

    @property
    def stands(self) -> bool:
        pod = self.container.pod
        return self.container.run is self.run and not self.run.ending.done() and pod.vm is self.vm and not pod.doomed

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.container.record.name} ({self.container.id[:12]})"

    async def gone(self) -> bool:
        """Wait for the end of its VM. True when it is known to be gone."""
        await self.run.settled.wait()
        end = self.container.vm_end
        return end is None or await asyncio.shield(end)  # None: it has been started anew, which waits for that


def residents(pod: Pod) -> dict[str, Container]:
    """All containers of a pod, by id, whether they run or not."""
    return {ident: one for ident, one in pod.watchers.items() if isinstance(one, Container)}


def living(pod: Pod) -> list[Container]:
    """Members that run."""
    return [one for one in residents(pod).values() if one.joined and one.run is not None]


def is_outlived(container: Container) -> bool:
    """Its VM may have what is kept when it goes: volumes that are written, or disks of others."""
    return container.joined or container.pod.writes_volumes or len(residents(container.pod)) > 1


def host_of(container: Container) -> Host | None:
    """Of a member; None when nothing can live there now."""
    host = residents(container.pod).get(container.pod.id)
    vm = container.pod.vm
    if host is None or host.run is None or host.starting or vm is None:
        return None
    found = Host(host, host.run, vm)
    return found if found.stands else None


async def find_host(container: Container) -> Host:
    """Raises, in docker's words, `NotFound` or `Conflict` when what the container joins is not there, or does not
    run."""
    for other in residents(container.pod).values():
        await other.recovered.wait()  # until then nobody knows what is in the VM
    found = host_of(container)
    member = container.record.spec.member
    target = residents(container.pod).get(member.of) if member is not None else None
    if member is not None and target is None:
        raise NotFound(f"No such container: {member.of}", "it was removed: create this one anew, with another")
    if found is None or target is None or target.run is None or target.run.ending.done() or target.starting:
        raise _not_running(container)
    return found


def _not_running(container: Container) -> Conflict:
    member = container.record.spec.member
    if member is None:
        return Conflict("the container that it joins does not run")
    if "network" in member.joins:
        words = f"cannot join network of a non running container: {member.of}"
    else:
        words = f"container {member.of} is not running"
    return Conflict(words, "start that one first")


def check(container: Container) -> None:
    """Raises `Conflict` when the VM in which a start goes on is not its host's any more."""
    if container.host is not None and not container.host.stands:
        raise _not_running(container)


async def told(container: Container, error: HypercellError) -> HypercellError:
    """What the user is told of a start that failed: whatever it was, when the host has ended it was that."""
    if isinstance(error, Conflict | NotFound) or container.host is None:
        return error
    found = await container.pod.diagnose(error)
    return error if found is error and container.host.stands else _not_running(container)


# Beginning


async def move_in(container: Container, image: Path, trace: Trace) -> tuple[Agent, Run]:
    """Its disks into the VM of its host, and the container made of them. The caller calls `leave` on any error."""
    host, services = container.host, container.services
    assert host is not None
    trace.way = WAY
    with trace.step("hypervisor"):
        await host.vm.plug(_image_disk(container), Disk(image, read_only=True))
        crash_point("member-plugging")
        await host.vm.plug(_writable_disk(container), Disk(services.storage.writable(container.id), read_only=False))
    crash_point("member-plugged")
    _check_both(container)
    agent = host.container.agent()
    if container.volumes:
        with trace.step("volumes"):
            await plug(container.pod, agent, container.record.spec, container.volumes)
        _check_both(container)
    run = Run(container.id, container.record.spec, services)
    with trace.step("configure"):
        try:
            await run.create(agent, container.output, container.input, container.console, _root(container))
        except BaseException:
            await run.let_go()
            raise
    _check_both(container)
    return agent, run


def _check_both(container: Container) -> None:
    check(container)
    if container.aborted:
        raise Conflict(f"container {container.id} was stopped while it started")


def _image_disk(container: Container) -> str:
    return f"r-{container.id[:12]}"


def _writable_disk(container: Container) -> str:
    return f"w-{container.id[:12]}"


def _root(container: Container) -> Json:
    """As the agent's `container.create` wants it."""
    return {
        "lower": [{"disk": _image_disk(container), "fstype": "erofs"}],
        "upper": {"disk": _writable_disk(container), "fstype": "ext4"},
    }


# Ending


async def leave(container: Container) -> bool:
    """Take what is left of a member's run out of its VM. True when nobody uses its disks any more. A guest that does
    not let go of them is lost, and its VM ended."""
    host = container.host
    if host is None:
        return True
    if host.stands:
        try:
            await _take_out(container, host)
        except Exception as error:  # what comes after the end must come
            if host.stands:
                log.error("the guest of %s does not let go of %s and is ended: %r", host.name, container.id[:12], error)
                await container.pod.kill(f"its guest did not let go of the container {container.record.name}")
        else:
            crash_point("member-left")
            return True
    return await host.gone()


async def _take_out(container: Container, host: Host) -> None:
    bound = container.services.bounds
    for left in reversed(range(_TRIES)):
        agent = container.pod.agent
        if agent is None:
            raise VmFailed("the VM has no agent", "agent-lost")
        try:
            used = await _delete(container, agent, bound.request)
            break
        except VmFailed:
            if not left or not agent.closed.is_set():
                raise
            await container.pod.reconnected(agent, bound.reconnect)
    crash_point("member-deleted")
    for name in (_image_disk(container), _writable_disk(container)):
        with contextlib.suppress(InvalidArgument):  # it never came so far
            await host.vm.unplug(name)
    await unplug(container.pod, host.vm, container.id, used)


async def _delete(container: Container, agent: Agent, bound: float) -> bool:
    """False: the guest knows nothing of it."""
    try:
        await agent.request("container.delete", {"container": container.id, "force": True}, bound)
    except NotFound:
        return False
    return True


async def explained(container: Container, ending: Ending) -> Ending:
    """The kernel ends a member whose processes are among those of another when that one ends: just before it, and
    without a word."""
    member, host = container.record.spec.member, container.host
    if member is None or host is None or "pid" not in member.joins or ending.code != KILLED:
        return ending
    if ending.reason or ending.oom or container.ending_by_user or container.record.stopped_by_user:
        return ending
    other = residents(container.pod).get(member.of)
    if other is not None and other.run is not None and not await other.run.ended_within(LAST_WORDS):
        return ending
    return replace(ending, reason=POD_ENDED, detail=host.name)


async def end_all(pod: Pod, orderly: bool) -> None:
    """The VM is about to end, and its members with it; *orderly*: what they wrote is to arrive."""
    pod.standing.clear()
    members = living(pod)
    for member in members:
        member.on_vm_ended(POD_ENDED, "")
    if orderly and members:
        await asyncio.gather(*map(_silence, members))
        await asyncio.gather(*(member.run.settled.wait() for member in members if member.run is not None))


async def _silence(member: Container) -> None:
    """What has ended for its clients ends in the guest, so that its output does."""
    with contextlib.suppress(HypercellError, TimeoutError):
        async with asyncio.timeout(member.services.bounds.kill):
            await member.request("process.signal", process="init", signal=SIGKILL, all=True)


# Coming back


async def host_runs(container: Container) -> bool:
    """Wait until the host of a member's pod runs. False: it was removed."""
    if container.pod.id in residents(container.pod):
        await container.pod.standing.wait()
    return container.pod.id in residents(container.pod)
