# SPDX-License-Identifier: Apache-2.0
"""Limits that the kernel of the VM enforces, and what is told of them."""

from __future__ import annotations

import pytest

from hypercell.base.errors import HypercellError, InvalidArgument
from tests.guest.guest import Guest
from tests.guest.specifications import config

pytestmark = [pytest.mark.vm, pytest.mark.root]


async def test_limits_hold_from_the_first_moment(guest: Guest) -> None:
    resources = {
        "pids": {"limit": 4},
        "cpu": {"shares": 512, "quota": 20000, "period": 100000},
        "memory": {"limit": 24 << 20, "swap": 24 << 20, "reservation": 8 << 20},
        "unified": {"memory.high": str(20 << 20)},
    }
    files = "memory.max memory.low memory.high cpu.max cpu.weight pids.max"
    script = f"cd /sys/fs/cgroup; cat {files}; for i in 1 2 3 4 5; do sleep 5 & done"
    seen = await guest.run("c", "sh", "-c", script, linux={"resources": resources})
    high = resources["unified"]
    assert isinstance(high, dict)
    lines = seen.stdout.decode().splitlines()
    assert lines == [str(24 << 20), str(8 << 20), high["memory.high"], "20000 100000", lines[4], "4"]
    assert 40 < int(lines[4]) < 100
    assert b"fork" in seen.stderr


async def test_a_throttled_container_is_counted_as_such(guest: Guest) -> None:
    quota = {"cpu": {"quota": 5000, "period": 50000}}
    await guest.start("c", "sh", "-c", "while :; do :; done", linux={"resources": quota})
    for _ in range(200):
        cpu = (await guest.ask("container.stats", container="c"))["cpu"]
        if cpu["throttled"] >= 3:
            break
    assert cpu["periods"] >= cpu["throttled"] >= 3
    assert cpu["throttled_ns"] > 0
    # The kernel tells user from system time by its ticks, and a program that is stopped at each may look like either.
    assert cpu["usage_ns"] >= cpu["user_ns"] + cpu["system_ns"] > 0


async def test_stats_tell_what_was_read_and_written(guest: Guest) -> None:
    script = "dd if=/dev/zero of=/srv/big bs=1M count=4; sync; cat /bin/busybox >/dev/null; echo done; exec sleep 1000"
    streams = await guest.start("c", "sh", "-c", script)
    assert await guest.agent.output(streams.stdout).read() == b"done\n"
    stats = await guest.ask("container.stats", container="c")
    assert sum(device["wbytes"] for device in stats["io"]) >= 4 << 20
    assert all(device["major"] > 0 for device in stats["io"])
    memory = stats["memory"]
    assert memory["fields"]["file"] == memory["file"] > 0
    assert memory["usage"] >= memory["anon"] > 0
    assert (memory["limit"], memory["oom_kills"]) == (0, 0)


async def test_limits_that_cannot_be_set_are_refused_and_leave_nothing(guest: Guest) -> None:
    for resources in (
        {"memory": {"limit": "much"}},
        {"memory": {"limit": 10 << 20, "swap": 5 << 20}},
        {"cpu": {"quota": 1, "period": 1}},
        {"unified": {"cgroup.procs": "1"}},
        {"unified": {"../agent/memory.max": "1"}},
        {"devices": [{"allow": True, "type": "z"}]},
    ):
        with pytest.raises(InvalidArgument):
            await guest.create("c", config("true", linux={"resources": resources}))
    assert (await guest.ask("state"))["containers"] == []
    await guest.start("c", "sleep", "1000")
    with pytest.raises(HypercellError):
        await guest.ask("container.update", container="c", resources={"unified": {"memory.nonsense": "1"}})
    assert (await guest.execute("c", "true")).code == 0
