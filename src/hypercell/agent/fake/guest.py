# SPDX-License-Identifier: Apache-2.0
"""A guest in memory: the agent's side of the protocol without a VM."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

from hypercell.agent.fake.link import Faults, Link, Request
from hypercell.agent.fake.members import GuestError
from hypercell.agent.fake.operations import OPERATIONS
from hypercell.agent.fake.pipe import as_streams, memory_pipe
from hypercell.agent.fake.process import Container, Process
from hypercell.agent.fake.streams import InputQueue, OutputRing

_FEATURES = ["exec", "archive", "stats", "seccomp", "pause", "update", "network", "clock", "sync", "changes", "volumes"]


class FakeGuest:
    """One simulated VM. It answers as docs/agent-protocol.md says, and goes wrong as `faults` says.

    `on_shutdown()` is called when `shutdown` was answered; `on_death(reason)` when the VM dies by itself
    (`guest-panic` by the program `panic`, `hypervisor-killed` by a fault). Nothing answers afterwards.
    """

    def __init__(
        self,
        on_shutdown: Callable[[], None] = lambda: None,
        on_death: Callable[[str], None] = lambda reason: None,
        faults: Faults | None = None,
        kernel: str = "6.1.0-fake",
    ) -> None:
        self.faults = faults or Faults()
        self.boot_id = ""
        self.hostname = "localhost"
        self.configuration: dict[str, Any] = {}
        self.fresh = True
        self.dead = False
        self.requests = 0
        self.containers: dict[str, Container] = {}
        self._on_shutdown = on_shutdown
        self._on_death = on_death
        self._kernel = kernel
        self._link: Link | None = None
        self._pid = 1
        self.outputs: dict[int, OutputRing] = {}
        self.inputs: dict[int, InputQueue] = {}

    # Connections.

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The host's end of a new connection in memory; an earlier connection ends. `ConnectionError` when dead."""
        if self.dead:
            raise ConnectionRefusedError("the fake guest is dead")
        host, guest = memory_pipe()
        streams = as_streams(host)
        self._take(guest)
        return streams

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the guest on a connection made elsewhere (a socket pair, say), until it ends."""
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        await self._take(transport).lost

    def _take(self, transport: asyncio.Transport) -> Link:
        if self._link is not None:
            self._link.hang_up()
        link = Link(self)
        self._link = link
        transport.set_protocol(link)
        link.connection_made(transport)
        if self.faults.boot_delay:
            transport.pause_reading()
            asyncio.get_running_loop().call_later(self.faults.boot_delay, transport.resume_reading)
            self.faults.boot_delay = 0.0
        elif not transport.is_reading():
            transport.resume_reading()
        return link

    def drop(self) -> None:
        """End the connection; the guest lives on."""
        if self._link is not None:
            self._link.hang_up()

    def send(self, data: bytes) -> None:
        """Send raw bytes to whoever is connected."""
        if self._link is not None:
            self._link.send_raw(data)

    def die(self, reason: str) -> None:
        """The VM is gone, as when its hypervisor was killed."""
        if not self.dead:
            self._stop()
            self._on_death(reason)

    def _stop(self) -> None:
        self.dead = True
        for container in self.containers.values():
            for process in container.processes.values():
                process.vanish()
        self.drop()

    def welcome(self) -> dict[str, Any]:
        return {
            "agent": "0.1.0",
            "features": _FEATURES,
            "kernel": self._kernel,
            "arch": "x86_64",
            "boot_id": self.boot_id,
            "fresh": self.fresh,
        }

    def greeted(self, link: Link) -> None:
        self._link = link
        for ring in self.outputs.values():
            ring.greeted()
        for queue in self.inputs.values():
            queue.greeted()
        for container in self.containers.values():
            for process in container.processes.values():
                process.tell_exit()

    def link_lost(self, link: Link) -> None:
        if self._link is link:
            self._link = None
            for ring in self.outputs.values():
                ring.greeted()

    def event(self, name: str, **members: Any) -> None:
        if self._link is not None:
            self._link.send_event({"event": name, **members})

    def data(self, stream: int, offset: int, payload: bytes, eof: bool) -> None:
        queue = self.inputs.get(stream)
        if queue is not None and (complaint := queue.data(offset, payload, eof)):
            self.event("log", level="error", message=complaint)

    def window(self, stream: int, acknowledged: int, limit: int) -> None:
        ring = self.outputs.get(stream)
        if ring is not None and (complaint := ring.window(acknowledged, limit)):
            self.event("log", level="error", message=complaint)

    def next_pid(self) -> int:
        self._pid += 1
        return self._pid

    # For operations.

    def carry_out(self, request: Request) -> dict[str, Any] | None:
        """The reply, or None if it comes later. Raises `GuestError`."""
        operation = OPERATIONS.get(request.op)
        if operation is None:
            raise GuestError("unsupported", f"unknown op {request.op}")
        return operation(self, request)

    def configure(self, members: dict[str, Any]) -> dict[str, Any]:
        """The reply. With its first entropy it gets a boot id."""
        self.configuration.update(members)
        self.hostname = members.get("hostname", self.hostname)
        rehearsal = bool(members.get("rehearsal"))
        self.fresh = self.fresh and rehearsal
        if members.get("entropy") and not self.boot_id and not rehearsal:
            self.boot_id = str(uuid.uuid4())
        return {
            "boot_id": self.boot_id,
            "random": secrets.token_hex(16),
            "clock_ns": members.get("clock_ns") or time.time_ns(),
            "hostname": self.hostname,
        }

    def new_output(self, ident: int) -> OutputRing:
        self._check_stream(ident)
        ring = self.outputs[ident] = OutputRing(ident, self._send)
        return ring

    def new_input(self, ident: int) -> InputQueue:
        self._check_stream(ident)
        queue = self.inputs[ident] = InputQueue(ident, self._send)
        queue.greeted()
        return queue

    def forget(self, process: Process) -> None:
        """A process and its streams, sent or not."""
        del process.container.processes[process.name]
        for ring in (process.stdout, process.stderr):
            if ring is not None:
                self.outputs.pop(ring.stream, None)
        if process.stdin is not None:
            self.inputs.pop(process.stdin.stream, None)

    def shut_down(self) -> None:
        """The machine resets, after what was sent."""
        if not self.dead:
            link, self._link = self._link, None
            self._stop()
            if link is not None:
                link.close()
            self._on_shutdown()

    def _check_stream(self, ident: int) -> None:
        if not ident:
            raise GuestError("invalid", "a stream id of 0")
        if ident in self.inputs or ident in self.outputs:
            raise GuestError("exists", f"stream {ident} exists")

    def _send(self, data: bytes) -> None:
        if self._link is not None:
            self._link.send(data)
