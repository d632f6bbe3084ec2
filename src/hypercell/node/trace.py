# SPDX-License-Identifier: Apache-2.0
"""Where the time of a start went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STEPS = ("api", "admission", "database", "image", "network", "hypervisor", "guest", "volumes", "configure", "process")
"""`api`: from the request's arrival to the start's begin. `admission`: at the gate, waiting included. `network`: the
tap. `hypervisor`: until the VM is there, and has greeted if it was made of another (`network` lies within); of a
container in another's VM, until its disks are there. `guest`: until the agent has greeted, after a boot; in a fork of a
zygote it lies within `hypervisor`. `volumes`: waiting until they may be had, at the begin; then plugging them in.
`configure`: identity, addresses and the container's making. `process`: until the program runs."""


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    start: float
    """Seconds after the trace's begin."""
    took: float
    """Seconds."""


class Trace:
    """Of one start. Steps may overlap, and come twice when a slower way had to be gone."""

    __slots__ = ("_began", "note", "outcome", "steps", "total", "way")

    def __init__(self, arrived: float = 0.0) -> None:
        """*arrived*: when the request for it did (`time.perf_counter()`); 0: nobody asked."""
        now = time.perf_counter()
        self._began = arrived or now
        self.steps: list[Step] = []
        if arrived:
            self.steps.append(Step("api", 0.0, now - arrived))
        self.way = "cold"
        """How the VM came about: `cold`, `template` or `pool`; `pod`: it was there, another container's."""
        self.note = ""
        """Why not a quicker way, for a person."""
        self.outcome = ""
        """What it failed of; empty while it is under way, and when it succeeded."""
        self.total = 0.0
        """Seconds from begin to end, once it has ended."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.steps.append(Step(name, began - self._began, time.perf_counter() - began))

    def finish(self) -> None:
        self.total = time.perf_counter() - self._began
        self.steps.sort(key=lambda step: step.start)
