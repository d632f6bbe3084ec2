# SPDX-License-Identifier: Apache-2.0
"""Many containers come and go, and nothing is left of them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]


def taps() -> list[str]:
    return [entry.name for entry in Path("/sys/class/net").iterdir() if (entry / "tun_flags").exists()]


def elements() -> int:
    listed = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    return listed.count("02:42:")


def descriptors(daemon: Daemon) -> int:
    assert daemon.process is not None
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


@pytest.mark.timeout(600)
def test_200_cycles_leave_nothing(own_daemon: Daemon) -> None:
    def cycle(number: int) -> None:
        status, made = own_daemon.call("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["sleep", "1000"]})
        assert status == 201, made
        if number % 5 == 0:
            assert own_daemon.call("POST", f"/containers/{made['Id']}/start", timeout=120)[0] == 204
        status, answer = own_daemon.call("DELETE", f"/containers/{made['Id']}?force=1", timeout=120)
        assert status == 204, answer

    cycle(0)
    before = descriptors(own_daemon)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(cycle, range(200)))
    assert own_daemon.leftovers() == []
    assert taps() == []
    assert elements() == 0
    assert descriptors(own_daemon) <= before + 4
    assert own_daemon.call("GET", "/containers/json?all=1")[1] == []
