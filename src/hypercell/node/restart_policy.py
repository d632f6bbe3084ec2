# SPDX-License-Identifier: Apache-2.0
"""The restart policy (docs.docker.com, "Start containers automatically"): whether, and after which pause."""

from __future__ import annotations

from hypercell.node.types import RestartPolicy

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 60.0
HEALTHY_AFTER_NS = 10 * 10**9
"""A run of this length proves that the container works: the pause starts again from its shortest."""


def wants_restart(policy: RestartPolicy, exit_code: int, restarts: int, stopped_by_user: bool) -> bool:
    if stopped_by_user:
        return False
    if policy.name in ("always", "unless-stopped"):
        return True
    if policy.name == "on-failure":
        return exit_code != 0 and (policy.maximum_retries == 0 or restarts < policy.maximum_retries)
    return False


def wants_start_with_daemon(policy: RestartPolicy, exit_code: int, restarts: int, stopped_by_user: bool) -> bool:
    """Of an exited container that ran before, when the daemon comes up: `always` forgets that the user stopped it."""
    return policy.name == "always" or wants_restart(policy, exit_code, restarts, stopped_by_user)


class Backoff:
    """100 ms, doubled with each restart up to a minute, and back to 100 ms after a run of ten seconds."""

    def __init__(self) -> None:
        self._pause = 0.0

    def next(self, ran_ns: int) -> float:
        if ran_ns >= HEALTHY_AFTER_NS:
            self._pause = 0.0
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        return self._pause
