# SPDX-License-Identifier: Apache-2.0
"""What is measured, a module each: its `measure` takes a session and answers with what goes into the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.parts import bursts, churn, cost, docker_run, execs, idle, many, records, starts, streams
from bench.session import Session

Part = Callable[[Session], dict[str, Any]]

PARTS: dict[str, tuple[Part, str]] = {
    "starts": (starts.measure, "create + start + wait of `true` over the API"),
    "run": (docker_run.measure, "`docker run --rm busybox true` by the docker CLI"),
    "exec": (execs.measure, "`exec` of `true` over the API and by the docker CLI"),
    "streams": (streams.measure, "output, logs and files of containers, and how they compare with dockerd's"),
    "burst": (bursts.measure, "containers requested at once, until all are running"),
    "idle": (idle.measure, "memory and processor time of containers and clones that do nothing"),
    "many": (many.measure, "as many containers at once as asked for, that all answer"),
    "cost": (cost.measure, "processor time that the daemon spends on a start"),
    "churn": (churn.measure, "steady coming and going: rate, memory, descriptors"),
    "records": (records.measure, "thousands of containers of the fake driver"),
}
