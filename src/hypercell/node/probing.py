# SPDX-License-Identifier: Apache-2.0
"""Probes of one run of a container, one after the other, for as long as it runs and is not paused.

A container without a health check has no `Prober`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from hypercell.base.durations import SECOND
from hypercell.base.errors import HypercellError
from hypercell.node.exec import Exec
from hypercell.node.health import Health, HealthCheck, HealthStatus, ProbeResult
from hypercell.node.probe import Probe, is_probe, kill_exec
from hypercell.node.types import Status

if TYPE_CHECKING:
    from hypercell.node.container import Container

log = logging.getLogger(__name__)


class Prober:
    def __init__(self, container: Container, check: HealthCheck) -> None:
        self._container = container
        self._check = check
        self._task: asyncio.Task[None] | None = None
        self._probe: Probe | None = None
        """The last one."""
        container.health = (container.health or Health(HealthStatus.STARTING)).begun()
        for exec_ in list(container.execs.values()):
            if exec_.running and is_probe(exec_.id, container.id):  # a daemon before us did not see its end
                container.services.tasks.spawn(self._kill(exec_), f"end of a probe of {container.id[:12]}")
        self.resume()

    @property
    def health(self) -> Health:
        assert self._container.health is not None
        return self._container.health

    def resume(self) -> None:
        """Go on, unless it is paused or probed already."""
        if self._task is None and self._container.status is Status.RUNNING:
            self._task = self._container.services.tasks.spawn(self._watch(), f"health of {self._container.id[:12]}")

    async def halt(self) -> None:
        """Before a pause, since a process that dies in a frozen container makes it look thawed: a probe under way is
        killed, and its result is not taken."""
        self._stop()
        if self._probe is not None and self._probe.under_way:
            await self._probe.kill()

    def pause(self) -> None:
        """It is paused."""
        self._stop()
        self._container.health = self.health.ceased()

    def end(self) -> None:
        """The run is over, and no process of it outlives that."""
        self._stop()
        self._container.health = self.health.ceased()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _kill(self, exec_: Exec) -> None:
        await self._container.recovered.wait()
        try:
            await kill_exec(self._container, exec_)
        except HypercellError as error:
            log.warning("an old probe of %s cannot be killed: %s", self._container.id[:12], error)

    async def _watch(self) -> None:
        container = self._container
        while True:
            running = time.time_ns() - container.record.started_ns
            await asyncio.sleep(self._check.pause(self.health.status, running) / SECOND)
            if self._probe is not None and self._probe.under_way:  # it could not be killed; they must not pile up
                await self._probe.exec.exited.wait()
            if self._reachable():
                await self._probe_once()

    async def _probe_once(self) -> None:
        container = self._container
        self._probe = probe = Probe(container, self._check)
        start = time.time_ns()
        code, output = await probe.run()
        if code != 0 and not self._reachable():
            return
        before = self.health
        result = ProbeResult(start, time.time_ns(), code, output)
        container.health = health = before.after(result, self._check, container.record.started_ns)
        if health.status is not before.status:
            container.emit(f"health_status: {health.status}")

    def _reachable(self) -> bool:
        """While the connection to the guest is lost nothing is learnt of the container, and nothing counts."""
        agent = self._container.pod.agent
        return agent is not None and not agent.closed.is_set() and self._container.recovered.is_set()
