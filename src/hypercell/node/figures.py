# SPDX-License-Identifier: Apache-2.0
"""What is counted of starts, for whoever watches the machine."""

from __future__ import annotations

import asyncio
import re

from hypercell.base.errors import VmFailed
from hypercell.base.metrics import Counter, Histogram
from hypercell.node.trace import Trace

STEP_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
START_BOUNDS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
"""Seconds: fine where a claim from the pool ends, coarse where somebody waited."""


class Figures:
    def __init__(self) -> None:
        self.starts = Histogram(
            "hypercell_start_seconds",
            "Time from a request to start a container until its program ran, by the way its VM came about.",
            START_BOUNDS,
            ("way",),
        )
        self.steps = Histogram(
            "hypercell_start_step_seconds", "The same by step; steps may overlap.", STEP_BOUNDS, ("way", "step")
        )
        self.failures = Counter(
            "hypercell_start_failures_total", "Starts that failed, by what they failed of.", ("reason",)
        )

    def started(self, trace: Trace) -> None:
        """A start has ended, well or not."""
        if trace.outcome:
            self.failures.count(trace.outcome)
            return
        self.starts.observe(trace.total, trace.way)
        for step in trace.steps:
            self.steps.observe(step.took, trace.way, step.name)


def kind_of(error: BaseException) -> str:
    """A word for what a start failed of: a VM's reason (docs/containers.md), or the kind of error, as `no-space`."""
    if isinstance(error, VmFailed):
        return error.reason
    if isinstance(error, asyncio.CancelledError):
        return "daemon-ended"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()
