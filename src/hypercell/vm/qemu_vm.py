# SPDX-License-Identifier: Apache-2.0
"""One VM that a QEMU process runs, launched or found again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypercell.base.errors import Internal, InvalidArgument, Unavailable, VmFailed
from hypercell.vm import cgroups, hub, migration, usage
from hypercell.vm.driver import DEVICE_MAC, Disk, ExitReason, HostUsage, Slot, VmExit
from hypercell.vm.exits import SHUT_DOWN, Evidence, classify
from hypercell.vm.processes import Process
from hypercell.vm.qmp import LIMIT, Answer, Event, Qmp, Streams
from hypercell.vm.recorder import PipeFollower, Recorder, printable
from hypercell.vm.records import (
    AGENT_SOCKET,
    CONSOLE_FILE,
    CONSOLE_SOCKET,
    HALF_MADE,
    LOG_FILE,
    LOG_PIPE,
    QMP_SOCKET,
    Record,
    VmDirectory,
)
from hypercell.vm.slots import Slots

log = logging.getLogger(__name__)

_LAST_WORDS = 1.0
"""Seconds to wait for the ends of console and control socket after the process is gone; they are there already."""
_GREETING = 20.0
"""Seconds until a hypervisor must answer on its control socket; it takes some hundredths."""


class QemuVm:
    """Implements `driver.Vm`. Made by `QemuDriver`, which calls `attach` or `restore` before anybody sees it."""

    def __init__(self, directory: VmDirectory, record: Record, process: Process) -> None:
        self.record = record
        self.slots: Slots | None = None
        """None: somebody else filled them."""
        self._directory = directory
        self._process = process
        self._groups = [Path(path) for path in record.cgroups]
        self._console = Recorder(directory.path / CONSOLE_FILE)
        self._log = Recorder(directory.path / LOG_FILE)
        self._follower = PipeFollower(directory.open_pipe(LOG_PIPE), self._log)
        self._expected = False
        self._failure_words = ""
        self._shutdown: str | None = None
        self._watched = False
        self._qmp: Qmp | None = None
        self._exit: asyncio.Future[VmExit] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._restoring: asyncio.Task[None] | None = None
        self._resumed = False
        self._plugging = asyncio.Lock()
        self._targets = hub.new_targets()
        self._watcher = asyncio.create_task(self._watch())

    @property
    def id(self) -> str:
        return self._directory.path.name

    @property
    def pid(self) -> int:
        return self.record.pid

    @property
    def accelerator(self) -> str:
        return self.record.accelerator

    @property
    def device_mac(self) -> str:
        return DEVICE_MAC

    async def attach(self) -> None:
        """Connect to the console and the control socket. Returns when the hypervisor greets on the latter, or when
        it is gone; raises `Unavailable` when it does neither for 20 s."""
        try:
            self._start(self._record_console(await self._connect(CONSOLE_SOCKET)))
            self._qmp = Qmp(await self._connect(QMP_SOCKET, LIMIT), self._on_event)
            await self._qmp.start(_GREETING)
            self._watched = True
        except (OSError, Unavailable):
            # Gone while we were talking to it, or it hangs.
            if not await self._ends():
                raise Unavailable("the hypervisor runs, but does not answer") from None

    async def restore(self, state: int) -> None:
        """Have a clone read the template's state from its descriptor *state*, and run. Waits for nothing: whoever
        speaks to the agent is heard when it runs. When it cannot, the VM ends, and `wait` tells why."""
        self._start(self._record_console(await self._connect(CONSOLE_SOCKET)))
        self._qmp = Qmp(await self._connect(QMP_SOCKET, LIMIT), self._on_event)
        self._watched = True
        self._restoring = self._start(self._restored(self._qmp, migration.restore(self._qmp, state)))

    async def carry_on(self, qmp: Streams, console: Streams, disks: Mapping[Slot, tuple[Disk, int]]) -> None:
        """Have one that was forked (see `fork`) run, with exactly *disks*, each given with a descriptor. Waits for
        nothing, as `restore`. Raises `VmFailed` when it is gone already, or reads nothing."""
        assert self.slots is not None
        self._start(self._record_console(console))
        self._qmp = Qmp(qmp, self._on_event)
        self._watched = True
        try:
            begun = [*self.slots.fill(self._qmp, disks), self._qmp.begin("cont"), self._qmp.expect("RESUME")]
        except Unavailable as error:
            if not await self._ends():
                self._fail(f"the clone cannot be told what to do: {error.message}")
            raise await self._failure() from error
        self._restoring = self._start(self._restored(self._qmp, begun))

    def groups_there(self) -> int:
        """How many control groups it has: what the host refused is left out."""
        return sum(group.exists() for group in self._groups)

    async def forget_translations(self) -> None:
        """Forget what the hypervisor has translated so far. Raises `Internal`, `Unavailable`."""
        await self._control("x-forget-translations")

    async def rewind(self) -> None:
        """Put the VM, which stands still, back to before its first instruction: nothing is left of its memory, while
        the hypervisor keeps what it has translated (hypervisor/recall.c). Raises `Internal`, `Unavailable`."""
        await self._control("x-rewind")

    async def fork(self, name: str, user: int, descriptors: Sequence[int], apart: bool) -> int:
        """The process number of a copy of this VM, which stands still: of the user *user*, called *name*, with
        *descriptors* for its own (hypervisor/fork.c has their order). *apart*: it shares no page with this one. Raises
        `VmFailed`; this VM is ended when it does not answer: it might do later what nobody waits for any more."""
        if self._qmp is None:
            raise VmFailed("the template's control socket is closed", "hypervisor-failed")
        try:
            answer = self._qmp.begin("x-fork", {"name": name, "user": user, "apart": apart}, *descriptors)
            (forked,) = await self._qmp.answers([answer], _GREETING)
        except Internal as error:
            raise VmFailed(f"the template cannot be forked: {error.message}", "hypervisor-failed") from error
        except Unavailable as error:
            self._fail(f"it was to be forked, and {error.message}")
            await self._process.wait()
            raise VmFailed(f"the template cannot be forked: {error.message}", "hypervisor-failed") from error
        pid = forked.get("pid") if isinstance(forked, dict) else None
        if type(pid) is not int:
            raise VmFailed("the template was forked into nothing", "hypervisor-failed")
        return pid

    async def _restored(self, qmp: Qmp, begun: list[Answer]) -> None:
        try:
            await qmp.answers(begun, _GREETING)
            self._directory.unmark(HALF_MADE)
            if self.slots is not None:
                await self.slots.tidy(qmp)
        except Internal as error:
            self._fail(f"the clone could not be restored: {error.message}")
        except Unavailable:
            # It is gone, and its log says why; or it hangs.
            if not await self._ends():
                self._fail("the hypervisor of the clone does not answer")

    async def running(self) -> None:
        """Return when a clone is restored, at once for others. Raises `VmFailed` when it ended before."""
        if self._restoring is not None:
            await asyncio.shield(self._restoring)
        if self._process.gone or self._failure_words:
            raise await self._failure()

    async def save(self, state: int) -> None:
        """Write the state of the devices, not the memory, to the descriptor *state*; the guest stands still from then
        on. Raises `VmFailed`."""
        if self._qmp is None:
            raise VmFailed("the VM cannot be saved: its control socket is closed", "hypervisor-failed")
        try:
            await migration.save(self._qmp, state)
        except (Internal, Unavailable) as error:
            raise VmFailed(f"the VM cannot be saved: {error.message}", "hypervisor-failed") from error

    async def connect_agent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._process.gone:
            raise await self._failure()
        try:
            return await self._connect(AGENT_SOCKET)
        except OSError as error:
            if self._process.gone:
                raise await self._failure() from error
            raise VmFailed(f"the agent's channel cannot be opened: {error.strerror}", "agent-lost") from error

    async def wait(self) -> VmExit:
        return await asyncio.shield(self._exit)

    def expect_shutdown(self) -> None:
        self._expected = True

    async def kill(self) -> None:
        if not self._process.gone:
            self._expected = True
            self._process.kill()
        await self._process.wait()

    async def plug(self, name: str, disk: Disk) -> None:
        hub.check_name(name)
        async with self._hub() as qmp:
            if name in await hub.names(qmp):
                raise InvalidArgument(f"the VM has a disk called {name} already")
            await hub.plug(qmp, name, disk, self._targets)

    async def unplug(self, name: str) -> None:
        async with self._hub() as qmp:
            if name not in await hub.names(qmp):
                raise InvalidArgument(f"the VM has no disk that is called {name[:40]!r}")
            await hub.unplug(qmp, name)

    @contextlib.asynccontextmanager
    async def _hub(self) -> AsyncIterator[Qmp]:
        await self.running()
        if self._qmp is None:
            raise VmFailed("the VM's disks cannot be changed", "hypervisor-failed")
        try:
            async with self._plugging:
                yield self._qmp
        except Internal as error:
            raise VmFailed(f"a disk cannot be plugged: {error.message}", "hypervisor-failed") from error
        except Unavailable:
            if await self._ends():
                raise await self._failure() from None
            raise

    async def pause(self) -> None:
        await self._control("stop")

    async def resume(self) -> None:
        await self._control("cont")

    async def console(self) -> str:
        return printable(await asyncio.to_thread(self._console.tail))

    async def hypervisor_log(self) -> str:
        """The last words of the hypervisor itself."""
        return printable(await asyncio.to_thread(self._log.tail))

    async def host_usage(self) -> HostUsage:
        return await asyncio.to_thread(usage.measure, self.pid if not self._process.gone else 0, self._groups)

    async def detach(self) -> None:
        """Let go of the VM without touching it. Who still waits for its end is cancelled."""
        if self._restoring is not None and not self._process.gone:
            await asyncio.wait([self._restoring])  # a successor could not tell whether it was told all
        self._watcher.cancel()
        for task in self._tasks:
            task.cancel()
        if self._qmp is not None:
            await self._qmp.close()
        await asyncio.gather(self._watcher, *self._tasks, return_exceptions=True)
        self._follower.finish()
        self._process.close()
        self._directory.close()
        if not self._exit.done():
            self._exit.cancel()

    def rename(self, vm_id: str) -> None:
        """Call it *vm_id* from now on. Raises `InvalidArgument` when there is such a VM, `OSError`."""
        self._directory.rename(vm_id)
        self._console.path = self._directory.path / CONSOLE_FILE
        self._log.path = self._directory.path / LOG_FILE

    async def fill(self, disks: Mapping[Slot, tuple[Disk, int]]) -> asyncio.Task[None]:
        """Have exactly *disks* in the slots, each with a descriptor. What is returned closes what was there, and need
        not be waited for. Raises `VmFailed`."""
        if self._qmp is None or self.slots is None:
            raise VmFailed("the VM's disks cannot be changed", "hypervisor-failed")
        try:
            await self._qmp.answers(self.slots.fill(self._qmp, disks))
        except (Internal, Unavailable) as error:
            raise VmFailed(f"a disk cannot be inserted: {error.message}", "hypervisor-failed") from error
        return self._start(self.slots.tidy(self._qmp))

    async def empty(self) -> None:
        """Have nothing in the slots. Returns when the files that were there are closed, for which it has to run; raises
        `VmFailed`."""
        await asyncio.wait({await self.fill({})})

    async def _control(self, command: str) -> None:
        await self.running()
        if self._qmp is None:
            raise Unavailable("the hypervisor's control socket is closed")
        await self._qmp.execute(command)

    async def _ends(self) -> bool:
        """Whether the process is gone, now or in a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._process.wait()
        return self._process.gone

    def _fail(self, words: str) -> None:
        """End it, for *words*."""
        self._failure_words = words
        self._process.kill()

    async def _failure(self) -> VmFailed:
        ended = await self.wait()
        reason = (
            "hypervisor-failed" if ended.reason in (ExitReason.SHUTDOWN, ExitReason.UNKNOWN) else ended.reason.value
        )
        return VmFailed(f"the VM has ended: {ended.detail}", reason)

    async def _connect(self, name: str, limit: int = 64 * 1024) -> Streams:
        return await asyncio.open_unix_connection(self._directory.inside(name), limit=limit)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _record_console(self, streams: Streams) -> None:
        reader, writer = streams
        try:
            await self._console.record(reader)
        finally:
            writer.close()

    def _on_event(self, name: str, data: Event) -> None:
        if name == "RESUME":
            self._resumed = True
        elif name == "MIGRATION" and data == migration.COMPLETED and self._restoring and not self._resumed:
            self._fail("the clone may not run")  # such as for a disk that is another's
        elif name == "SHUTDOWN":
            self._shutdown = str(data.get("reason"))[:40]
        elif name == "BLOCK_IO_ERROR":
            log.warning(
                "VM %s: the disk %.40r had an I/O error: %.200r",
                self.id[:12],
                data.get("node-name"),
                data.get("reason"),
            )

    async def _watch(self) -> None:
        """Wait for the process's end, gather the last words, and tell how it ended."""
        await self._process.wait()
        loose = [*self._tasks]
        if self._qmp is not None:
            loose.append(asyncio.create_task(self._qmp.ended()))
        if loose:
            await asyncio.wait(loose, timeout=_LAST_WORDS)
        self._follower.finish()
        self._exit.set_result(SHUT_DOWN if self._expected else classify(self._evidence()))

    def _evidence(self) -> Evidence:
        used = cgroups.usage(self._groups)
        return Evidence(
            returncode=self._process.returncode,
            shutdown=self._shutdown,
            watched=self._watched,
            console=printable(self._console.tail()),
            log=printable(self._log.tail()),
            oom_killed=bool(used.oom_kills),
            own_limit=used.own_limit,
            failure=self._failure_words,
        )
