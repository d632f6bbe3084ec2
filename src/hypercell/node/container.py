# SPDX-License-Identifier: Apache-2.0
"""One container: where it stands, and the verbs that move it. Starting, ending and removal have modules of their own.

`lock` is held while a start or an end is carried out, so these never overlap. Verbs that end a container do not take
it before the end has come: they break into a start that is under way (`abort_start`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypercell.agent.contract import Agent
from hypercell.base.errors import Conflict, HypercellError, NotModified, Unavailable, Unsupported
from hypercell.node.admission import Place, Waiting
from hypercell.node.attach import ContainerAttachment, RunInput
from hypercell.node.exec import Exec, ExecAttachment
from hypercell.node.exec_eviction import evict
from hypercell.node.guest_state import ContainerState
from hypercell.node.health import Health, HealthStatus
from hypercell.node.logs import Log, rotation
from hypercell.node.output import RunOutput
from hypercell.node.pod import POD_ENDED, Pod
from hypercell.node.probing import Prober
from hypercell.node.records import Phase, Record
from hypercell.node.restart_policy import Backoff
from hypercell.node.run import Ending, Run
from hypercell.node.services import NodeEvent, Services
from hypercell.node.spec import PodVolume
from hypercell.node.trace import Trace
from hypercell.node.types import Output, State, Status
from hypercell.node.waits import Waits

if TYPE_CHECKING:
    from hypercell.node.members import Host

log = logging.getLogger(__name__)

Json = dict[str, Any]
SIGKILL = 9
KILLED = 128 + SIGKILL
VM_DIED = 255
"""Exit code of a program whose VM ended under it: nobody knows a better one."""


class Container:
    def __init__(self, record: Record, pod: Pod, services: Services) -> None:
        self.record = record
        self.pod = pod
        self.services = services
        self.status = _status(record)
        self.lock = asyncio.Lock()
        kept = record.spec.log
        limits = rotation(kept, services.config.log_size)
        self.log = Log(services.storage.logs(record.id), limits, kept.kept)
        self.output = RunOutput(self.log)
        self.input = RunInput()
        self.run: Run | None = None
        self.starting = False
        self.place: Place | None = None
        """Of the launch under way, at the gate."""
        self.early_events: list[Json] = []
        self.aborted = False
        self.ending_by_user = False
        """A kill, stop or removal is what ends the VM: its end is no failure."""
        self.restarting_by_user = 0
        """How many callers do."""
        self.removing = False
        self.host: Host | None = None
        """Where it is, or was last, if that is another's VM (`node/members.py`)."""
        self.aside: Pod | None = None
        """The throw-away VM in which somebody looks at its files, if its pod is another's."""
        self.break_off_visit: Callable[[str], None] | None = None
        """Set while somebody looks at its files and it does not run (`node/visit.py`): ends that, saying why."""
        self.recovered = asyncio.Event()
        """Clear while it is looked for, after a daemon's return; its status is then what was written down."""
        self.recovered.set()
        self.vm_end: asyncio.Task[bool] | None = None
        """The end of the last run's VM, which takes longer than that of the run. True: it is gone."""
        self.waits = Waits()
        self.backoff = Backoff()
        self.pending_restart: asyncio.Task[None] | None = None
        self.execs: dict[str, Exec] = {}
        self.console = (24, 80)
        self.health: Health | None = None
        """None: it has no health check, or never ran."""
        if record.spec.health is not None and record.ever_started:
            self.health = Health(HealthStatus.STARTING).ceased()
        self.prober: Prober | None = None
        """Of its run, if it has a health check."""
        self.trace: Trace | None = None
        """Of its last start in this daemon's life."""
        self.forget: Callable[[], None] = lambda: None
        """Set by the node: takes it off the list."""
        self.after_end: Callable[[Container], Awaitable[None]] = _nothing
        """Set by the node: called when a run has ended, to restart or to remove it."""
        pod.watchers[record.id] = self

    # What it is

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def joined(self) -> bool:
        """Its pod is another's: it lives in that one's VM."""
        return self.record.pod != self.record.id

    @property
    def volumes(self) -> tuple[PodVolume, ...]:
        """Each once."""
        if not self.joined:
            return self.pod.record.spec.volumes
        return self.record.spec.member.volumes if self.record.spec.member else ()

    @property
    def disk_size(self) -> int:
        """Bytes of its writable layer's file system."""
        member = self.record.spec.member
        return member.disk_size if self.joined and member else self.pod.record.spec.disk_size

    @property
    def active(self) -> bool:
        """docker's `Running`: a program runs, or soon will again."""
        return self.status in (Status.RUNNING, Status.PAUSED, Status.RESTARTING)

    @property
    def state(self) -> State:
        record, vm = self.record, self.pod.vm
        return State(
            status=self.status,
            pid=vm.pid if vm is not None and self.run is not None else 0,
            exit_code=0 if self.run is not None else record.exit_code,
            error=record.error,
            oom_killed=record.oom_killed,
            started_ns=record.started_ns,
            finished_ns=record.finished_ns,
            restart_count=record.restart_count,
            health=self.health,
        )

    def emit(self, action: str, **attributes: str) -> None:
        self.services.emit(NodeEvent(action, self.record, attributes))

    def announce(self) -> None:
        """Let its neighbours find it, as docker does: by its name, its id's beginning and its host name. A member of
        another's pod has no neighbours of its own."""
        if self.joined:
            return
        names = (self.record.name, self.id[:12], self.pod.record.spec.hostname)
        self.services.network.announce(self.pod.id, tuple(dict.fromkeys(filter(None, names))))

    async def save(self, **changes: Any) -> None:
        """Change the record and write it down."""
        self.record = replace(self.record, **changes)
        await self.services.records.save(self.record)

    async def note(self, **changes: Any) -> None:
        """As `save`, for what is so whether or not it can be written down (the disk is full): that stops nothing."""
        try:
            await self.save(**changes)
        except Exception:
            log.exception("what became of %s cannot be written down", self.id[:12])

    def agent(self) -> Agent:
        """Of its running VM. Raises `Conflict`, `Unavailable` while it is looked for."""
        if not self.recovered.is_set():
            raise Unavailable(f"container {self.id} is being found again", "try again in some seconds")
        if self.run is None or self.pod.agent is None:
            raise Conflict(f"container {self.id} is not running", "start it first")
        return self.pod.agent

    def refuse_unusable(self) -> None:
        if self.record.damaged:
            raise Conflict(f"container {self.id} is dead", self.record.error)
        if self.removing:
            raise Conflict(f"container {self.id} is marked for removal and cannot be used", "create another one")

    def refuse_unkept_log(self) -> None:
        if not self.log.kept:
            raise Unsupported("configured logging driver does not support reading")

    async def vm_ended(self) -> bool:
        """Wait for the end of the last run's VM. True when it is known to be gone."""
        return self.vm_end is not None and await asyncio.shield(self.vm_end)

    # What its pod tells

    def on_event(self, event: Json) -> None:
        # The program may run, and end, before its start is answered, or while it is being found: first things first.
        if self.starting or (self.run is None and not self.recovered.is_set()):
            self.early_events.append(event)
            return
        kind, process = event.get("event"), event.get("process")
        if kind == "container.oom":
            self.emit("oom")
        elif kind == "process.exited" and process == "init":
            if self.run is not None:
                self.run.on_exited(event)
        elif kind == "process.exited" and (exec_ := self.execs.get(str(process))) is not None:
            exec_.on_exited(event)

    def on_reconnected(self, agent: Agent, found: dict[str, ContainerState]) -> None:
        state = found.get(self.id)
        if self.run is None or self.run.ending.done():
            return
        if state is None or state.init is None:
            self.on_vm_ended("agent-lost", "the guest forgot the container")
            return
        self.run.adopt(agent, state.init, self.output, self.input)
        self.adopt_execs(agent, state)

    def adopt_execs(self, agent: Agent, state: ContainerState) -> None:
        for process in state.processes.values():
            if process.id in self.execs and not self.execs[process.id].exited.is_set():
                self.execs[process.id].adopt(agent, process)

    def on_vm_ended(self, reason: str, detail: str) -> None:
        if self.run is None:
            return
        if self.ending_by_user:
            self.run.end(Ending(KILLED, time.time_ns()))
        elif self.host is not None:
            self.run.end(Ending(KILLED, time.time_ns(), reason=POD_ENDED, detail=self.host.name))
        else:
            self.run.end(Ending(VM_DIED, time.time_ns(), reason=reason, detail=detail))

    # Verbs that end it

    async def stop(self, timeout: int | None, signal: int | None) -> None:
        """Raises `NotModified` when it does not run."""
        self.refuse_unusable()
        if await self.abort_start() or await self.cancel_restart():
            self.emit("stop")
            return
        run = self.run
        if run is None:
            raise NotModified(f"container {self.id} is not running")
        await self.note_user_stop()
        await self.end_run(run, self.record.spec.stop_timeout if timeout is None else timeout, signal)
        self.emit("stop")

    async def end_run(self, run: Run, timeout: int, signal: int | None) -> None:
        """Ask, then force."""
        number = signal or self.record.spec.stop_signal
        self.emit("kill", signal=str(number))
        try:
            await self.signal(number)
        except HypercellError as error:
            log.warning("container %s cannot be asked to stop: %s", self.id[:12], error)
            timeout = 0
        if not await run.ended_within(None if timeout < 0 else timeout):
            self.emit("kill", signal=str(SIGKILL))
            await self.end_by_force(run)
        await run.settled.wait()
        # It may have ended by itself just before, and the policy have decided before we did.
        await self.cancel_restart()

    async def kill(self, signal: int) -> None:
        self.refuse_unusable()
        if signal == SIGKILL and (await self.abort_start() or await self.cancel_restart()):
            return
        run = self.run
        if run is None:
            raise Conflict(f"container {self.id} is not running", "start it first")
        if signal in (SIGKILL, self.record.spec.stop_signal):
            await self.note_user_stop()
        self.emit("kill", signal=str(signal))
        if signal == SIGKILL:
            await self.end_by_force(run)
            await run.settled.wait()
            await self.cancel_restart()
        else:
            await self.signal(signal)

    async def signal(self, number: int) -> None:
        agent, bound = self.agent(), self.services.bounds.request
        members = {"container": self.id, "process": "init", "signal": number}
        await agent.request("process.signal", members, bound)
        if self.status is Status.PAUSED:  # a frozen process hears nothing
            await agent.request("container.resume", {"container": self.id}, bound)
            self._resumed()

    async def end_by_force(self, run: Run) -> None:
        """SIGKILL; and if the guest does not do it, end the VM."""
        bound = self.services.bounds.kill
        try:
            async with asyncio.timeout(bound):
                await self.signal(SIGKILL)
        except (HypercellError, TimeoutError) as error:
            log.warning("the guest of %s does not kill it: %s", self.id[:12], error or "no answer")
            bound = 0
        if not await run.ended_within(bound):
            self.ending_by_user = True
            await self.pod.kill(f"its guest did not kill the container {self.record.name}" if self.joined else "")

    async def abort_start(self) -> bool:
        """Break off a start that is under way; True if there was one."""
        if not self.starting:
            return False
        self.aborted = self.ending_by_user = True
        if self.joined:  # it finds out at its next step, of which each is bounded
            self.services.claims.tell()
        elif not self.give_up_waiting("it was stopped while it waited for its turn to start"):
            await self.pod.kill()
        async with self.lock:
            return self.run is None

    @property
    def waiting(self) -> Waiting | None:
        """What keeps its start at the gate, if it stands there."""
        return self.place.waiting if self.place is not None else None

    def give_up_waiting(self, why: str) -> bool:
        """Take back a start that waits for its turn; True if there was one."""
        return self.place is not None and self.place.give_up(Conflict(f"container {self.id} was not started: {why}"))

    async def cancel_restart(self) -> bool:
        """Call off a restart that the policy wants; True if it wanted one. It may not be planned yet: the VM of the run
        before may still be ending."""
        if self.status is not Status.RESTARTING:
            return False
        pending, self.pending_restart = self.pending_restart, None
        if pending is not None:
            pending.cancel()
        self.status = Status.EXITED
        await self.note(phase=Phase.EXITED, stopped_by_user=True)
        self.waits.exited(self.record.exit_code, self.record.error)
        return True

    async def note_user_stop(self) -> None:
        """Before the signal: whatever happens now, the restart policy must know who wanted it."""
        if self.record.spec.restart.name != "no" and not self.restarting_by_user:
            await self.note(stopped_by_user=True)

    # Verbs of a running container

    async def pause(self) -> None:
        if self.status is Status.PAUSED:
            raise Conflict(f"container {self.id} is already paused")
        run, prober = self.run, self.prober
        agent = self.agent()
        if prober is not None:
            await prober.halt()
        try:
            await agent.request("container.pause", {"container": self.id}, self.services.bounds.request)
        except HypercellError:
            if prober is not None and prober is self.prober:
                prober.resume()
            raise
        if run is not self.run:  # it ended before the answer came
            self.agent()
        self.status = Status.PAUSED
        if self.prober is not None:
            self.prober.pause()
        self.emit("pause")

    async def unpause(self) -> None:
        if self.status is not Status.PAUSED:
            raise Conflict(f"container {self.id} is not paused")
        await self.agent().request("container.resume", {"container": self.id}, self.services.bounds.request)
        self._resumed()
        self.emit("unpause")

    def _resumed(self) -> None:
        if self.status is not Status.PAUSED:  # it ended before the answer came
            return
        self.status = Status.RUNNING
        if self.prober is not None:
            self.prober.resume()

    async def resize(self, rows: int, columns: int) -> None:
        """The size of its terminal, now or at its next start."""
        self.console = (rows, columns)
        if self.run is not None:
            members = {"container": self.id, "process": "init", "rows": rows, "columns": columns}
            await self.agent().request("process.resize", members, self.services.bounds.request)

    async def request(self, op: str, **members: Any) -> Json:
        """Any other operation of the agent on this container."""
        return await self.agent().request(op, {"container": self.id, **members}, self.services.bounds.request)

    def attach(
        self, stdin: bool, stdout: bool, stderr: bool, stream: bool = True, logs: bool = False
    ) -> ContainerAttachment:
        """To this run, or to the next one if none is under way."""
        self.refuse_unusable()
        if self.status in (Status.PAUSED, Status.RESTARTING):
            words = "paused, unpause" if self.status is Status.PAUSED else "restarting, wait for"
            raise Conflict(f"container {self.id} is {words} the container before attach")
        if logs:
            self.refuse_unkept_log()
        kinds = {Output.STDOUT: stdout, Output.STDERR: stderr}
        tap = self.output.attach(frozenset(kind for kind, wanted in kinds.items() if wanted), logs, stream)
        spec = self.record.spec
        source = self.input if stdin and stream and spec.open_stdin else None
        return ContainerAttachment(spec.tty, tap, source, spec.stdin_once and not spec.tty, self.resize)

    # Execs

    def add_exec(self, exec_: Exec) -> None:
        if self.status is Status.PAUSED:
            raise Conflict(f"container {self.id} is paused, unpause the container before exec")
        self.agent()
        self.keep_exec(exec_)
        evict(self.execs, time.monotonic())

    def keep_exec(self, exec_: Exec) -> None:
        self.execs[exec_.id] = exec_
        exec_.on_exit = self.on_exec_exit

    def on_exec_exit(self, exec_: Exec) -> None:
        self.emit("exec_die", execID=exec_.id, exitCode=str(exec_.exit_code))

    async def start_exec(
        self, exec_: Exec, detach: bool, console_size: tuple[int, int] | None
    ) -> ExecAttachment | None:
        if self.status is Status.PAUSED:
            raise Conflict(f"container {self.id} is paused, unpause the container before exec")
        return await exec_.start(self.agent(), detach, console_size)

    # Health

    def begin_probing(self) -> None:
        """Its program runs, and its status says so."""
        if self.record.spec.health is not None:
            self.prober = Prober(self, self.record.spec.health)

    def end_probing(self) -> None:
        if self.prober is not None:
            self.prober.end()
            self.prober = None

    async def wait(self, condition: str, ready: Callable[[], None] | None) -> tuple[int, str]:
        """(exit code, error); see the contract of the cloud."""
        if condition == "not-running" and not self.active and not self.starting:
            if ready is not None:
                ready()
            return self.record.exit_code, self.record.error
        return await self.waits.wait(condition, ready)


def _status(record: Record) -> Status:
    """Of one that no guest was asked about."""
    if record.damaged:
        return Status.DEAD
    known = {Phase.CREATED: Status.CREATED, Phase.RUNNING: Status.RUNNING, Phase.RESTARTING: Status.RESTARTING}
    return known.get(record.phase, Status.EXITED)


async def _nothing(container: Container) -> None:
    """A container that no node holds."""
