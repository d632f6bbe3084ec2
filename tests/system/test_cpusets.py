# SPDX-License-Identifier: Apache-2.0
"""`--cpuset-cpus` in a real VM, with the stock docker CLI."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]


def test_a_container_runs_on_the_processors_that_were_chosen_for_it(daemon: Daemon) -> None:
    docker = daemon.docker
    allowed = ("grep", "Cpus_allowed_list", "/proc/self/status")
    docker("run", "-d", "--name", "pinned", "--cpus", "2", "--cpuset-cpus", "1", IMAGE, "sleep", "1000")
    assert docker("exec", "pinned", *allowed).stdout.split() == ["Cpus_allowed_list:", "1"]
    docker("update", "--cpuset-cpus", "0-1", "pinned")
    assert docker("exec", "pinned", *allowed).stdout.split() == ["Cpus_allowed_list:", "0-1"]
    refused = docker("update", "--cpuset-cpus", "2", "pinned", check=False)
    assert "Requested CPUs are not available - requested 2, available: 0-1" in refused.stderr
    docker("rm", "-f", "pinned")


def test_one_processor_is_nothing_to_choose_from(daemon: Daemon) -> None:
    assert daemon.docker("run", "--rm", "--cpus", "1", "--cpuset-cpus", "0", IMAGE, "nproc").stdout == "1\n"
