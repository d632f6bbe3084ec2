# SPDX-License-Identifier: Apache-2.0
"""Whether a container is well: what is asked, what probes told, and what follows from it. The rules are docker's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

KEPT_RESULTS = 5
UNKNOWN_CODE = -1
"""Exit code of a probe that has none: it was not started, or took too long."""


class HealthStatus(StrEnum):
    """docker's words."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What is run in a container to find out whether it is well, and when. Nothing is left open; times are in
    nanoseconds."""

    args: tuple[str, ...]
    interval: int
    """From the end of a probe to the next; before the first too."""
    timeout: int
    start_period: int
    """From the start of a run: failures do not count until then, or until a probe succeeded."""
    start_interval: int
    """Instead of *interval*, meanwhile."""
    retries: int
    """So many failures in a row make it unhealthy."""

    def __post_init__(self) -> None:
        times = (self.interval, self.timeout, self.start_interval, self.retries)
        if not self.args or min(times) <= 0 or self.start_period < 0:
            raise ValueError("HealthCheck could not be carried out")

    def pause(self, status: HealthStatus, running: int) -> int:
        """How long the next probe waits in a run that has lasted *running*."""
        young = status is HealthStatus.STARTING and running < self.start_period
        return self.start_interval if young else self.interval


@dataclass(frozen=True, slots=True)
class ProbeResult:
    start_ns: int
    end_ns: int
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Health:
    status: HealthStatus
    failing_streak: int = 0
    log: tuple[ProbeResult, ...] = ()
    """The last results, the oldest first; those of runs before included."""

    def begun(self) -> Health:
        """A run has begun, or was adopted."""
        return replace(self, status=HealthStatus.STARTING, failing_streak=0)

    def ceased(self) -> Health:
        """Nobody probes it now. docker says no word of its own for that."""
        return replace(self, status=HealthStatus.UNHEALTHY)

    def after(self, result: ProbeResult, check: HealthCheck, started_ns: int) -> Health:
        """With one more result, of the run that began then."""
        log = (*self.log, result)[-KEPT_RESULTS:]
        if result.exit_code == 0:
            return Health(HealthStatus.HEALTHY, 0, log)
        if self.status is HealthStatus.STARTING and result.start_ns - started_ns < check.start_period:
            return replace(self, log=log)
        streak = self.failing_streak + 1
        return Health(HealthStatus.UNHEALTHY if streak >= check.retries else self.status, streak, log)
