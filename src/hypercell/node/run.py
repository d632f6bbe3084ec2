# SPDX-License-Identifier: Apache-2.0
"""One run of a container: from `container.create` in the guest to the last byte that its program wrote."""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypercell.agent.contract import Agent
from hypercell.base.errors import Internal, VmFailed
from hypercell.node.attach import RunInput
from hypercell.node.guest_state import ProcessState, StreamState
from hypercell.node.output import RunOutput
from hypercell.node.services import Services
from hypercell.node.spec import ContainerSpec
from hypercell.node.types import Output
from hypercell.vm.driver import ROOT_OF_DISKS

log = logging.getLogger(__name__)

Json = dict[str, Any]
INIT_PATH = "/sbin/docker-init"
"""Where docker puts it too."""
FAILED_START = 128
"""docker's exit code of a container that could not be started."""
_DISK_FULL_PAUSE = 0.5
MAX_BUFFER = 1024 * 1024
"""Of each output stream: what a container may have the daemon hold in memory."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    code: int
    at_ns: int
    oom: bool = False
    reason: str = ""
    """Empty: the program ended. Else the VM did, and why."""
    detail: str = ""


class Run:
    def __init__(self, container_id: str, spec: ContainerSpec, services: Services) -> None:
        self.id = container_id
        self.spec = spec
        self.ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.settled = asyncio.Event()
        """Its end is written down and told."""
        self._services = services
        self._streams: dict[Output, int] = {}
        self._stdin = 0
        self._pumps: dict[Output, asyncio.Task[None]] = {}
        self._drained: set[Output] = set()
        self._output: RunOutput | None = None
        self._input: RunInput | None = None
        self._blocked = False
        """The log could not be written when it was last tried."""

    # Beginning

    async def create(
        self,
        agent: Agent,
        output: RunOutput,
        stdin: RunInput,
        console: tuple[int, int],
        root: Mapping[str, Any] = ROOT_OF_DISKS,
    ) -> None:
        """Everything but the last step: the program stands before its first instruction."""
        self._output, self._input = output, stdin
        self._streams = {Output.STDOUT: agent.new_stream()}
        if not self.spec.tty:
            self._streams[Output.STDERR] = agent.new_stream()
        self._stdin = agent.new_stream() if self.spec.open_stdin else 0
        members = {
            "container": self.id,
            "root": root,
            "config": self._config(),
            "files": self._files(),
            "stdin": self._stdin,
            "stdout": self._streams[Output.STDOUT],
            "stderr": self._streams.get(Output.STDERR, 0),
            "rows": console[0],
            "columns": console[1],
        }
        self._receive(agent, {})
        await agent.request("container.create", members, self._services.bounds.request)

    async def start(self, agent: Agent) -> None:
        await agent.request("container.start", {"container": self.id}, self._services.bounds.request)
        assert self._input is not None
        self._input.bind(agent.input(self._stdin) if self._stdin else None)

    def _config(self) -> Json:
        if not self.spec.init:
            return self.spec.oci
        process = {**self.spec.oci["process"], "args": [INIT_PATH, "--", *self.spec.args]}
        return {**self.spec.oci, "process": process}

    def _files(self) -> list[Json]:
        files = list(self.spec.files)
        if self.spec.init:
            path = self._services.config.guest_dir / "init"
            try:
                data = path.read_bytes()
            except OSError as error:
                raise Internal(f"--init needs {path}: {error.strerror}", "build the guest: make guest") from error
            files.append({"path": INIT_PATH, "data": b64encode(data).decode(), "mode": 0o755, "uid": 0, "gid": 0})
        return files

    # Finding it again

    def adopt(self, agent: Agent, init: ProcessState, output: RunOutput, stdin: RunInput) -> None:
        """Go on where an earlier daemon, or a lost connection, left off."""
        self._output, self._input = output, stdin
        states = {Output.STDOUT: init.stdout, Output.STDERR: init.stderr}
        found = {kind: state for kind, state in states.items() if state is not None}
        self._streams = {kind: state.stream for kind, state in found.items()}
        self._receive(agent, found)
        if init.stdin is not None and not init.stdin.ended:
            self._stdin = init.stdin.stream
            stdin.bind(agent.input(self._stdin, init.stdin.position))
        else:
            stdin.bind(None)
        if init.exited:
            self.end(Ending(init.code, self.moment(init.exited_ns), init.oom))

    def moment(self, guest_ns: int) -> int:
        """A time of the guest's clock, if it can be true."""
        now = time.time_ns()
        return guest_ns if now - 366 * 86400 * 10**9 < guest_ns < now else now

    # Output

    def _receive(self, agent: Agent, known: dict[Output, StreamState]) -> None:
        assert self._output is not None
        for pump in self._pumps.values():
            pump.cancel()
        self._output.rewind()
        for kind, stream in self._streams.items():
            start = self._output.lines[kind].written
            state = known.get(kind)
            if kind in self._drained or (state is not None and state.ended and state.position <= start):
                self._drained.add(kind)
                continue
            work = self._pump(agent, kind, stream, start)
            self._pumps[kind] = self._services.tasks.spawn(work, f"{kind.name.lower()} of {self.id[:12]}")

    async def _pump(self, agent: Agent, kind: Output, ident: int, start: int) -> None:
        assert self._output is not None
        stream = agent.output(ident, start)
        try:
            while data := await stream.read():
                self._output.receive(kind, stream.position - len(data), data)
                stream.acknowledge(await self._store(kind))
            await self._store(kind, last=True)
            stream.acknowledge(stream.position + 1)
            self._drained.add(kind)
        except VmFailed:
            return  # the watch over the pod finds out what happened

    async def _store(self, kind: Output, last: bool = False) -> int:
        """Into the log. While the disk is full the container waits in write(2), as on a full pipe, and nothing is lost,
        unless it was asked for that it never waits."""
        assert self._output is not None
        buffer = self.spec.log.buffer
        while True:
            try:
                offset = self._output.store(kind, last)
            except OSError as error:
                if not self._blocked:
                    fate = "waits" if buffer is None else "is dropped beyond its buffer"
                    log.error("cannot write the log of %s, its output %s: %s", self.id[:12], fate, error.strerror)
                self._blocked = True
                if buffer is not None:
                    return self._output.drop(kind, min(buffer, MAX_BUFFER))
                await asyncio.sleep(_DISK_FULL_PAUSE)
            else:
                self._blocked = False
                return offset

    async def drain(self) -> None:
        """After the end: wait, not for ever, until all that was written has arrived and is stored."""
        pumps = [pump for pump in self._pumps.values() if not pump.done()]
        if pumps:
            await asyncio.wait(pumps, timeout=self._services.bounds.drain)
        for pump in pumps:
            pump.cancel()
        if self._output is not None:
            for kind in self._streams:
                try:
                    self._output.store(kind, last=True)
                except OSError as error:
                    log.error("lost the end of the log of %s: %s", self.id[:12], error.strerror)

    # Ending

    def on_exited(self, event: Json) -> None:
        code, oom = event.get("code"), event.get("oom") is True
        self.end(Ending(code if isinstance(code, int) else 255, time.time_ns(), oom))

    def end(self, ending: Ending) -> None:
        """The first account of its end is the one that counts."""
        if not self.ending.done():
            self.ending.set_result(ending)

    async def ended_within(self, seconds: float | None) -> bool:
        done, _ = await asyncio.wait({self.ending}, timeout=seconds)
        return bool(done)

    async def let_go(self) -> None:
        """The daemon ends: stop reading. What was not acknowledged the guest keeps."""
        for pump in self._pumps.values():
            pump.cancel()
        await asyncio.gather(*self._pumps.values(), return_exceptions=True)
