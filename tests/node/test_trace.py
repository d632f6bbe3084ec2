# SPDX-License-Identifier: Apache-2.0
"""Every start tells where its time went."""

from __future__ import annotations

import time

import pytest

from hypercell.base.arrival import ARRIVED
from hypercell.base.errors import HypercellError, NoSpace, VmFailed
from hypercell.cloud.contract import MountRequest, RestartPolicy
from hypercell.node.figures import kind_of
from hypercell.node.trace import STEPS, Trace
from tests.support.house import House, Resident, T


async def test_a_start_tells_its_steps_and_that_they_fill_its_time(any_home: Resident) -> None:
    ARRIVED.set(time.perf_counter())
    ident = await any_home.run("true", mounts=(MountRequest("/data", "data"),))
    await any_home.wait(ident)
    trace = (await any_home.view(ident)).trace  # of a container that has ended, too
    assert trace is not None and trace.outcome == ""
    assert {step.name for step in trace.steps} == set(STEPS)
    assert [step.start for step in trace.steps] == sorted(step.start for step in trace.steps)
    assert all(0 <= step.start <= step.start + step.took <= trace.total for step in trace.steps)
    covered, end = 0.0, 0.0
    for step in trace.steps:
        covered += max(0.0, step.start + step.took - max(end, step.start))
        end = max(end, step.start + step.took)
    assert covered > 0.5 * trace.total


async def test_a_start_that_fails_tells_of_what(home: House) -> None:
    home.machine.refuse = "broken"
    ident = await home.create("true")
    with pytest.raises(HypercellError):
        await home.containers.start(T, ident)
    trace = (await home.view(ident)).trace
    assert trace is not None and trace.outcome == "hypervisor-failed" and trace.total > 0
    assert home.node.services.figures.failures.values == {("hypervisor-failed",): 1}


async def test_a_restart_by_policy_is_nobodys_request(home: House) -> None:
    ARRIVED.set(time.perf_counter())
    ident = await home.run("sh", "-c", "exit 1", restart=RestartPolicy("on-failure", 1))
    await home.restarts(ident, 1)
    trace = (await home.view(ident)).trace
    assert trace is not None and "api" not in {step.name for step in trace.steps}


def test_steps_may_overlap_and_come_twice() -> None:
    trace = Trace()
    with trace.step("hypervisor"):
        for _ in range(2):
            with trace.step("network"):
                pass
    trace.finish()
    outer, *inner = trace.steps
    assert outer.name == "hypervisor" and [step.name for step in inner] == ["network"] * 2
    assert all(outer.start <= step.start and step.start + step.took <= outer.start + outer.took for step in inner)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(NoSpace("full"), "no-space"), (VmFailed("x", "guest-panic"), "guest-panic"), (OSError(), "oserror")],
)
def test_a_failure_has_a_word(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
