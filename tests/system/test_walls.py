# SPDX-License-Identifier: Apache-2.0
"""What happens in one container stays in its VM, and `ps` and `events` tell what happened."""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture
def neighbour(daemon: Daemon) -> Iterator[str]:
    """A container that must not notice anything."""
    name = daemon.docker("run", "-d", IMAGE, "sh", "-c", "echo mine > /secret; exec sleep 1000").stdout.strip()
    yield name
    daemon.docker("rm", "-f", name)


def well(daemon: Daemon, name: str) -> None:
    assert daemon.docker("exec", name, "cat", "/secret").stdout == "mine\n"


def state(daemon: Daemon, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(daemon.docker("inspect", name).stdout)[0]["State"]
    return found


def wait_until_ended(daemon: Daemon, name: str, seconds: float = 60) -> dict[str, object]:
    deadline = time.monotonic() + seconds
    while (found := state(daemon, name))["Running"]:
        assert time.monotonic() < deadline, "it goes on and on"
        time.sleep(0.2)
    return found


def events(daemon: Daemon, name: str) -> list[dict[str, object]]:
    # The CLI cuts times to whole seconds: without the next one, the last second's events are missing.
    until = str(int(time.time()) + 1)
    wanted = ("--since", "10m", "--until", until, "--filter", f"container={name}", "--format", "{{json .}}")
    lines = daemon.docker("events", *wanted).stdout
    return [json.loads(line) for line in lines.splitlines()]


def test_the_kernel_inside_is_not_the_hosts(daemon: Daemon) -> None:
    inside = daemon.docker("run", "--rm", IMAGE, "uname", "-r").stdout.strip()
    assert inside
    assert inside != platform.release()


def test_two_containers_see_nothing_of_each_other(daemon: Daemon, neighbour: str) -> None:
    script = "ps -o pid,args; ls /; grep MemTotal /proc/meminfo; cat /proc/*/cmdline | tr '\\0' ' '"
    seen = daemon.docker("run", "--rm", IMAGE, "sh", "-c", script).stdout
    assert "MemTotal" in seen
    assert "sleep 1000" not in seen
    assert "secret" not in seen
    assert int(seen.partition("MemTotal:")[2].split()[0]) < 1024 * 1024
    well(daemon, neighbour)


def test_a_fork_bomb_starves_nobody_else_and_can_be_killed(daemon: Daemon, neighbour: str) -> None:
    bomb = daemon.docker(
        "run", "-d", "--memory", "128m", IMAGE, "sh", "-c", "b() { b | b & }; b; sleep 1000"
    ).stdout.strip()
    try:
        time.sleep(5)
        well(daemon, neighbour)
        assert daemon.docker("run", "--rm", IMAGE, "echo", "new ones start").stdout == "new ones start\n"
        daemon.docker("kill", bomb)
        assert wait_until_ended(daemon, bomb)["ExitCode"] in (137, 0, 2)
    finally:
        daemon.docker("rm", "-f", bomb)
    well(daemon, neighbour)


def test_rm_rf_of_everything_harms_neither_image_nor_neighbour(daemon: Daemon, neighbour: str) -> None:
    daemon.docker("run", "--rm", "--privileged", IMAGE, "sh", "-c", "rm -rf / 2>/dev/null; true", check=False)
    well(daemon, neighbour)
    assert daemon.docker("run", "--rm", IMAGE, "echo", "whole").stdout == "whole\n"


def test_a_kernel_panic_ends_one_vm_and_is_told(daemon: Daemon, neighbour: str) -> None:
    name = daemon.docker(
        "run", "-d", "--privileged", IMAGE, "sh", "-c", "sleep 1; echo c > /proc/sysrq-trigger; sleep 1000"
    ).stdout.strip()
    try:
        ended = wait_until_ended(daemon, name)
        assert ended["ExitCode"] != 0
        assert "panic" in str(ended["Error"])
        assert "Exited" in daemon.docker("ps", "-a", "--filter", f"id={name}", "--format", "{{.Status}}").stdout
        died = [event for event in events(daemon, name) if event["Action"] == "die"]
        assert died[0]["Actor"]["Attributes"]["reason"] == "guest-panic"  # type: ignore[index]
        daemon.docker("start", name)
        daemon.docker("kill", name)
    finally:
        daemon.docker("rm", "-f", name)
    well(daemon, neighbour)


def test_a_killed_hypervisor_is_told(daemon: Daemon, neighbour: str) -> None:
    name = daemon.docker("run", "-d", IMAGE, "sleep", "1000").stdout.strip()
    try:
        os.kill(int(str(state(daemon, name)["Pid"])), signal.SIGKILL)
        ended = wait_until_ended(daemon, name)
        assert "hypervisor" in str(ended["Error"])
        died = [event for event in events(daemon, name) if event["Action"] == "die"]
        assert died[0]["Actor"]["Attributes"]["reason"] == "hypervisor-killed"  # type: ignore[index]
    finally:
        daemon.docker("rm", "-f", name)
    well(daemon, neighbour)


def test_out_of_memory_is_told_apart(daemon: Daemon, neighbour: str) -> None:
    name = daemon.docker("create", "--memory", "64m", IMAGE, "sh", "-c", "tail /dev/zero").stdout.strip()
    try:
        daemon.docker("start", name)
        ended = wait_until_ended(daemon, name)
        assert ended["OOMKilled"] is True
        assert ended["ExitCode"] == 137
        assert "oom" in [event["Action"] for event in events(daemon, name)]
    finally:
        daemon.docker("rm", "-f", name)
    well(daemon, neighbour)


def test_what_a_container_gets_is_what_it_sees(daemon: Daemon) -> None:
    script = "nproc; cat /proc/meminfo | head -1; cat /sys/fs/cgroup/memory.max"
    for size, cpus, memory in (("s1", 1, 64), ("m2", 2, 2048)):
        seen = daemon.hypercell("run", "--rm", "--size", size, IMAGE, "sh", "-c", script)
        lines = seen.stdout.splitlines()
        assert int(lines[0]) == cpus
        assert int(lines[2]) == memory << 20
