# SPDX-License-Identifier: Apache-2.0
"""Further processes in a running container."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from hypercell.agent.contract import Agent, InputStream, OutputStream
from hypercell.base.errors import Conflict, ExecFailed, HypercellError, InvalidArgument, VmFailed
from hypercell.node.guest_state import ProcessState
from hypercell.node.services import Services
from hypercell.node.types import Output
from hypercell.node.unstarted import failed_exec

log = logging.getLogger(__name__)

Json = dict[str, Any]
VM_GONE = 137
_QUEUE = 8
_EXIT_AFTER_EOF = 2.0


@dataclass(frozen=True, slots=True)
class ExecSpec:
    process: Json
    """The OCI process object."""
    tty: bool = False
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    console_size: tuple[int, int] | None = None
    size: int = 0
    """Bytes of *process* as JSON."""


class Exec:
    """One exec, from its creation to long after its end. Started once."""

    def __init__(self, exec_id: str, container_id: str, spec: ExecSpec, services: Services) -> None:
        self.id = exec_id
        self.container_id = container_id
        self.spec = spec
        self.created = time.monotonic()
        self.pid = 0
        self.running = False
        self.exit_code: int | None = None
        self.began = False
        self.exited = asyncio.Event()
        self.on_exit: Callable[[Exec], None] = lambda exec: None
        self._services = services
        self._agent: Agent | None = None
        self._streams: dict[Output, int] = {}
        self._stdin = 0
        self._pumps: list[asyncio.Task[None]] = []
        self.attachment: ExecAttachment | None = None
        self._fed = False
        """The attachment gets output, whose end is its end; without, it ends with the process."""

    async def start(self, agent: Agent, detach: bool, console_size: tuple[int, int] | None) -> ExecAttachment | None:
        """Raises `ExecFailed` (and then the exit code is 126 or 127), `Conflict` when it was started before."""
        if self.began:
            raise Conflict(f"exec session {self.id} has already been started", "create another exec")
        self.began = True
        self._agent = agent
        self._choose_streams(agent, detach)
        attachment = None if detach else ExecAttachment(self)
        self.attachment = attachment
        self._pump(agent, attachment)
        size = console_size or self.spec.console_size
        process = dict(self.spec.process)
        if self.spec.tty and size is not None:
            process["consoleSize"] = {"height": size[0], "width": size[1]}
        members = {
            "container": self.container_id,
            "process": self.id,
            "spec": process,
            "stdin": self._stdin,
            "stdout": self._streams.get(Output.STDOUT, 0),
            "stderr": self._streams.get(Output.STDERR, 0),
        }
        self.running = True
        try:
            reply = await agent.request("process.exec", members, self._services.bounds.request)
        except (ExecFailed, InvalidArgument) as error:
            told = failed_exec(error)
            self._abandon(told.exit_code)
            raise told from error
        except BaseException:
            self._abandon(126)
            raise
        pid = reply.get("pid")
        self.pid = pid if isinstance(pid, int) else 0
        if attachment is not None and self._stdin:
            attachment.stdin = agent.input(self._stdin)
        self._services.tasks.spawn(self._reap(agent), f"end of exec {self.id[:12]}")
        return attachment

    def adopt(self, agent: Agent, state: ProcessState) -> None:
        """One that an earlier daemon started, or whose connection was lost: its client is gone, its output unwanted."""
        self.began, self.running, self.pid, self._agent = True, True, state.pid, agent
        self._stop_pumps()
        if self.attachment is not None:
            self.attachment.end()
        for stream in (state.stdout, state.stderr):
            if stream is not None:
                pump = _discard(agent.output(stream.stream, stream.position))
                self._pumps.append(self._services.tasks.spawn(pump, f"unwanted output of exec {self.id[:12]}"))
        if state.exited:
            self.end(state.code)
        self._services.tasks.spawn(self._reap(agent), f"end of exec {self.id[:12]}")

    def _choose_streams(self, agent: Agent, detach: bool) -> None:
        spec = self.spec
        if spec.tty or (spec.stdout and not detach):
            self._streams[Output.STDOUT] = agent.new_stream()
        if spec.stderr and not spec.tty and not detach:
            self._streams[Output.STDERR] = agent.new_stream()
        if spec.stdin and not detach:
            self._stdin = agent.new_stream()

    def _pump(self, agent: Agent, attachment: ExecAttachment | None) -> None:
        for kind, ident in self._streams.items():
            stream = agent.output(ident)
            wanted = attachment is not None and (kind is Output.STDERR or self.spec.stdout)
            self._fed |= wanted
            work = attachment.pump(kind, stream) if attachment is not None and wanted else _discard(stream)
            self._pumps.append(self._services.tasks.spawn(work, f"{kind.name.lower()} of exec {self.id[:12]}"))

    async def _reap(self, agent: Agent) -> None:
        """When it has ended and its output is read, the guest may forget it."""
        await self.drain()
        with contextlib.suppress(HypercellError):
            members = {"container": self.container_id, "process": self.id}
            await agent.request("process.reap", members, self._services.bounds.request)

    @property
    def drained(self) -> bool:
        """It has ended, and all its output was read."""
        return self.exited.is_set() and all(pump.done() for pump in self._pumps)

    async def drain(self) -> None:
        await self.exited.wait()
        if self._pumps:
            await asyncio.wait(self._pumps)

    def _abandon(self, code: int) -> None:
        self.end(code)
        self._stop_pumps()

    def _stop_pumps(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        self._pumps.clear()

    def on_exited(self, event: Json) -> None:
        code = event.get("code")
        self.end(code if isinstance(code, int) else 255)

    def end(self, code: int) -> None:
        if self.exited.is_set() or not self.began:
            return
        self.running, self.exit_code = False, code
        self.exited.set()
        if self.attachment is not None and not self._fed:
            self.attachment.end()
        self.on_exit(self)

    def vm_ended(self) -> None:
        """Also called when its container ended: no process outlives that."""
        if self.running:
            self.end(VM_GONE)
        self._stop_pumps()
        if self.attachment is not None:
            self.attachment.end()

    async def resize(self, rows: int, columns: int) -> None:
        if not self.running or self._agent is None:
            raise Conflict(f"exec session {self.id} is not running")
        members = {"container": self.container_id, "process": self.id, "rows": rows, "columns": columns}
        await self._agent.request("process.resize", members, self._services.bounds.request)


class ExecAttachment:
    """`Attachment` to an exec. Nothing is logged, so what its client does not read waits in the guest."""

    def __init__(self, owner: Exec) -> None:
        self.tty = owner.spec.tty
        self.stdin: InputStream | None = None
        self._exec = owner
        self._queue: asyncio.Queue[tuple[Output, bytes, OutputStream] | None] = asyncio.Queue(_QUEUE)
        self._open = 0
        self._detached = asyncio.Event()
        self._ended = asyncio.Event()

    async def pump(self, kind: Output, stream: OutputStream) -> None:
        self._open += 1
        try:
            while data := await stream.read():
                if not self._detached.is_set():
                    await self._queue.put((kind, data, stream))
                else:
                    stream.acknowledge(stream.position)
            stream.acknowledge(stream.position + 1)
        except VmFailed:
            pass
        finally:
            self._open -= 1
            if self._open == 0:
                self.end()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended.set()

    async def output(self) -> AsyncIterator[tuple[Output, bytes]]:
        while not self._detached.is_set():
            item = await self._next()
            if item is None:
                break
            kind, data, stream = item
            yield kind, data
            stream.acknowledge(stream.position)
        # Whoever asks for the exit code now shall get one, unless the process closed its output and lives on.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_AFTER_EOF):  # `wait_for` may swallow a cancellation
                await self._exec.exited.wait()

    async def _next(self) -> tuple[Output, bytes, OutputStream] | None:
        if self._queue.empty():
            getting = asyncio.ensure_future(self._queue.get())
            waits = [asyncio.ensure_future(event.wait()) for event in (self._ended, self._detached)]
            try:
                await asyncio.wait({getting, *waits}, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    return getting.result()
            finally:
                for task in (getting, *waits):
                    task.cancel()
        return None if self._queue.empty() else self._queue.get_nowait()

    async def write(self, data: bytes) -> None:
        if self.stdin is not None and self._exec.running:
            with contextlib.suppress(VmFailed):
                await self.stdin.write(data)

    async def close_stdin(self) -> None:
        if self.stdin is not None and self._exec.running:
            with contextlib.suppress(VmFailed):
                await self.stdin.close()

    async def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(HypercellError):
            await self._exec.resize(rows, columns)

    async def detach(self) -> None:
        """The process goes on; from now on its output is thrown away."""
        self._detached.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        if not self.tty:
            await self.close_stdin()


async def _discard(stream: OutputStream) -> None:
    with contextlib.suppress(VmFailed):
        while await stream.read():
            stream.acknowledge(stream.position)
        stream.acknowledge(stream.position + 1)
