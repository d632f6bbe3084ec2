# SPDX-License-Identifier: Apache-2.0
"""What is made ready stands back for what somebody waits for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from hypercell.vm.factory.priority import to_background, to_foreground


@pytest.fixture
def pid() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def test_a_vm_that_waits_gets_the_time_that_nobody_wants(pid: int) -> None:
    to_background(pid)
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE


@pytest.mark.root
def test_a_vm_that_is_claimed_is_as_any_other(pid: int) -> None:
    to_background(pid)
    to_foreground(pid)
    assert os.sched_getscheduler(pid) == os.SCHED_OTHER


def test_a_vm_that_is_gone_is_told_only_to_who_claims_it() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    to_background(process.pid)
    with pytest.raises(FileNotFoundError):
        to_foreground(process.pid)
