# SPDX-License-Identifier: Apache-2.0
"""Many containers come and go, and nothing is left of them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypercell.backends.network.rules import table, tap_prefix
from tests.support.daemon import Daemon
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]


def taps(daemon: Daemon) -> list[str]:
    """Of this daemon: others may have some in the same namespace."""
    names = [entry.name for entry in Path("/sys/class/net").iterdir() if (entry / "tun_flags").exists()]
    return [name for name in names if name.startswith(tap_prefix(daemon.settings["bridge"]))]


def elements(daemon: Daemon) -> int:
    found = 0
    for family in ("bridge", "ip"):
        command = ["nft", "list", "table", family, table(daemon.settings["bridge"])]
        found += subprocess.run(command, check=True, capture_output=True, text=True).stdout.count("02:42:")
    return found


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
    assert taps(own_daemon) == []
    assert elements(own_daemon) == 0
    assert descriptors(own_daemon) <= before + 4
    assert own_daemon.call("GET", "/containers/json?all=1")[1] == []
