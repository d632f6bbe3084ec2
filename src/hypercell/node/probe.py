# SPDX-License-Identifier: Apache-2.0
"""One probe of a health check: an exec that nobody attaches to, whose beginning of output is kept.

Clients hear of it as of any exec. When it has ended it is forgotten at once: it must not push out those of users.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from typing import TYPE_CHECKING

from hypercell.agent.contract import Agent
from hypercell.base.durations import SECOND, show_duration
from hypercell.base.errors import HypercellError, NotFound, VmFailed
from hypercell.base.ids import new_id
from hypercell.node.exec import Exec, ExecAttachment, ExecSpec
from hypercell.node.health import UNKNOWN_CODE, HealthCheck

if TYPE_CHECKING:
    from hypercell.node.container import Container

log = logging.getLogger(__name__)

KEPT_OUTPUT = 4096
"""Bytes of a probe's output; the rest is read and thrown away."""
_SHOWN = 4096
"""Characters of its command in an event."""
_MARK = 32
"""So many digits of a probe's id are those of its container's, by which a daemon that comes back knows it."""


def is_probe(exec_id: str, container_id: str) -> bool:
    return exec_id[:_MARK] == container_id[:_MARK]


class Probe:
    def __init__(self, container: Container, check: HealthCheck) -> None:
        process = {**container.record.spec.oci["process"], "terminal": False, "args": list(check.args)}
        ident = container.id[:_MARK] + new_id()[_MARK:]
        self._container = container
        self._check = check
        self.exec = Exec(ident, container.id, ExecSpec(process), container.services)
        self._output = _Beginning()
        self._starting: asyncio.Task[ExecAttachment | HypercellError] | None = None

    @property
    def under_way(self) -> bool:
        """It was begun, and its end is not known."""
        return self._starting is not None and not self.exec.exited.is_set()

    async def run(self) -> tuple[int, str]:
        """Its exit code, and what it wrote or what went wrong, in docker's words.

        When it is cancelled the process goes on: see `kill`.
        """
        exec_ = self.exec
        try:
            agent = self._container.agent()
        except HypercellError as error:
            return UNKNOWN_CODE, str(error)
        # Whoever ends this must not lose sight of a process that comes about just now.
        work = self._start(agent)
        self._starting = self._container.services.tasks.spawn(work, f"start of exec {exec_.id[:12]}")
        attachment = await asyncio.shield(self._starting)
        if isinstance(attachment, HypercellError):
            if isinstance(attachment, VmFailed):  # the guest was too slow, and may run it all the same
                await self.kill()
            return UNKNOWN_CODE, str(attachment)[:KEPT_OUTPUT]
        try:
            async with asyncio.timeout(self._check.timeout / SECOND):
                async for _, data in attachment.output():
                    self._output.add(data)
                await exec_.exited.wait()
        except TimeoutError:
            await attachment.detach()
            await self.kill()
            words = f"Health check exceeded timeout ({show_duration(self._check.timeout)})"
            output = self._output.text()
            return UNKNOWN_CODE, f"{words}: {output}" if output else words
        finally:
            await attachment.detach()
        code = exec_.exit_code
        return UNKNOWN_CODE if code is None else code, self._output.text()

    async def _start(self, agent: Agent) -> ExecAttachment | HypercellError:
        container, exec_ = self._container, self.exec
        container.keep_exec(exec_)
        exec_.on_exit = self._on_exit
        words = " ".join(self._check.args)[:_SHOWN]
        container.emit(f"exec_create: {words}", execID=exec_.id)
        container.emit(f"exec_start: {words}", execID=exec_.id)
        try:
            attachment = await exec_.start(agent, False, None)
        except HypercellError as error:
            return error
        assert attachment is not None
        return attachment

    async def kill(self) -> None:
        """End it, and wait a while for its end. What the guest does not kill goes on."""
        bound = self._container.services.bounds.kill
        if self._starting is not None:
            await asyncio.wait({self._starting})
        try:
            await kill_exec(self._container, self.exec)
        except HypercellError as error:
            log.warning("a probe of %s cannot be killed: %s", self._container.id[:12], error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound):
                await self.exec.exited.wait()

    def _on_exit(self, exec_: Exec) -> None:
        self._container.execs.pop(exec_.id, None)
        self._container.on_exec_exit(exec_)


async def kill_exec(container: Container, exec_: Exec) -> None:
    """Raises what the guest answers, but not that it knows no such process: then that has ended."""
    try:
        await container.request("process.signal", process=exec_.id, signal=signal.SIGKILL)
    except NotFound:
        exec_.vm_ended()


class _Beginning:
    """The first bytes of a stream; `...` says that there were more."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._more = False

    def add(self, data: bytes) -> None:
        room = KEPT_OUTPUT - len(self._kept)
        self._kept += data[:room]
        self._more = self._more or len(data) > room

    def text(self) -> str:
        return self._kept.decode(errors="replace") + ("..." if self._more else "")
