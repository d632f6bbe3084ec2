# SPDX-License-Identifier: Apache-2.0
"""`kill -9` of the daemon: containers go on, and its return finds them with logs and exit codes intact."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.daemon import Daemon
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]


def test_a_container_goes_on_and_loses_no_line(own_daemon: Daemon) -> None:
    script = "i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); done; exec sleep 1000"
    name = own_daemon.docker("run", "-d", IMAGE, "sh", "-c", script).stdout.strip()
    own_daemon.kill()
    time.sleep(1)
    own_daemon.start()
    deadline = time.monotonic() + 60
    lines: list[str] = []
    while len(lines) < 4000 and time.monotonic() < deadline:
        lines = own_daemon.docker("logs", name).stdout.splitlines()
    assert lines == [f"line {number}" for number in range(4000)]
    assert own_daemon.docker("exec", name, "echo", "here").stdout == "here\n"


def test_an_exit_in_the_daemons_absence_is_known_afterwards(own_daemon: Daemon) -> None:
    name = own_daemon.docker("run", "-d", IMAGE, "sh", "-c", "sleep 2; echo last words; exit 42").stdout.strip()
    kept = own_daemon.docker("run", "-d", "--restart", "always", IMAGE, "sh", "-c", "sleep 2; exit 1").stdout.strip()
    gone = own_daemon.docker("run", "-d", "--rm", IMAGE, "sleep", "2").stdout.strip()
    own_daemon.kill()
    time.sleep(5)
    own_daemon.start()
    assert own_daemon.docker("wait", name).stdout.strip() == "42"
    assert own_daemon.docker("logs", name).stdout == "last words\n"
    deadline = time.monotonic() + 30
    while json.loads(own_daemon.docker("inspect", kept).stdout)[0]["RestartCount"] == 0:
        assert time.monotonic() < deadline, "the restart policy was forgotten"
        time.sleep(0.2)
    while gone in own_daemon.docker("ps", "-aq", "--no-trunc").stdout:
        assert time.monotonic() < deadline, "--rm was forgotten"
        time.sleep(0.2)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.4, 0.9, 1.6])
def test_a_kill_during_a_start_leaves_a_container_that_can_be_used(own_daemon: Daemon, delay: float) -> None:
    name = own_daemon.docker("create", IMAGE, "sh", "-c", "echo up; exec sleep 1000").stdout.strip()
    starting = own_daemon.background("start", name)
    time.sleep(delay)
    own_daemon.kill()
    starting.wait(30)
    own_daemon.start()
    own_daemon.docker("start", name)
    assert own_daemon.docker("exec", name, "echo", "well").stdout == "well\n"
    own_daemon.docker("rm", "-f", name)
    assert own_daemon.leftovers() == []
