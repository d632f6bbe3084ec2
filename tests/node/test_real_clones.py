# SPDX-License-Identifier: Apache-2.0
"""What two clones of one guest have in common, seen from inside real VMs: nothing that should tell them apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hypercell.cloud.contract import ExecRequest, MountRequest
from tests.support.house import T, read
from tests.support.real_house import RealHouse, real_house
from tests.support.vm import hypervisors

pytestmark = [pytest.mark.vm, pytest.mark.root]
WAY = {"pool": 220, "template": 0}
"""MiB of the pool, for VMs that come about that way."""


@pytest.fixture(params=WAY)
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RealHouse]:
    async with real_house(tmp_path, pool_memory=WAY[request.param]) as built:
        if request.param == "template":
            await built.wait(await built.run("true"))
        await ready(built, 2 if request.param == "pool" else 0)
        yield built


async def ready(home: RealHouse, pooled: int) -> None:
    """Until there is a template and so many VMs wait."""
    async with asyncio.timeout(90):
        while True:
            figures = home.node.services.factory.figures()
            if figures.templates and sum(figures.pooled.values()) >= pooled:
                return
            await asyncio.sleep(0.05)


async def clone(home: RealHouse, name: str, **request: Any) -> str:
    """A container in a clone."""
    ident = await home.run("sleep", "600", name=name, **request)
    trace = home.node.get(ident).trace
    assert trace is not None and trace.way in WAY, trace.note
    return ident


async def inside(home: RealHouse, ident: str, script: str) -> str:
    exec_id = await home.containers.exec_create(T, ident, ExecRequest(args=("sh", "-c", script)))
    attachment = await home.containers.exec_start(T, exec_id, False)
    return (await read(attachment.output())).decode()


DIFFERENT = {
    "boot id": "cat /proc/sys/kernel/random/boot_id",
    "kernel's uuids": "cat /proc/sys/kernel/random/uuid",
    "random bytes": "head -c 32 /dev/urandom | od -An -tx1",
    "where a program's stack is": "grep stack /proc/self/maps",
    "host name": "hostname",
    "card and addresses": "ip link show eth0 | tail -n 1; ip addr show eth0 | grep inet",
}


async def test_two_clones_have_nothing_in_common_that_should_tell_them_apart(home: RealHouse) -> None:
    one, other = await clone(home, "one"), await clone(home, "other")
    for what, script in DIFFERENT.items():
        said = [await inside(home, ident, script) for ident in (one, other)]
        assert said[0].strip() and said[1].strip()
        assert said[0] != said[1], f"the same {what}"


async def test_a_clone_gets_the_volume_that_another_wrote(home: RealHouse) -> None:
    mounts = (MountRequest("/data", "data"),)
    ident = await clone(home, "writer", mounts=mounts)
    await inside(home, ident, "echo kept >/data/file")
    await home.containers.remove(T, ident, force=True)
    for name in ("one", "other"):
        ident = await clone(home, name, mounts=(MountRequest("/data", "data", read_only=True),))
        assert await inside(home, ident, "cat /data/file") == "kept\n"


async def test_a_clone_knows_what_time_it_is(home: RealHouse) -> None:
    ident = await clone(home, "clock")
    before = int(time.time())
    said = int(await inside(home, ident, "date +%s"))
    assert before - 2 <= said <= time.time() + 2
    # And its clock runs on as every other.
    began = time.monotonic()
    slept = float(await inside(home, ident, "a=$(cut -d' ' -f1 /proc/uptime); sleep 1; cut -d' ' -f1 /proc/uptime"))
    assert slept > 0 and time.monotonic() - began >= 1


async def test_nothing_of_an_earlier_life_is_left_in_a_clone(home: RealHouse) -> None:
    ident = await clone(home, "fresh")
    port = home.node.get(ident).pod.port
    addresses = await inside(home, ident, "ip -4 addr show | grep inet")
    assert port.places[0].address in addresses and addresses.count("inet ") == 2, "its own and the loopback's"
    routes = await inside(home, ident, "cat /proc/net/route /proc/net/arp")
    assert "192.0.2." not in routes and "0200C0" not in routes, "the network in which it was warmed"
    everything = await inside(home, ident, "cat /proc/mounts /proc/*/cmdline /proc/sys/kernel/hostname; ls / /etc")
    assert "warming" not in everything
    assert "rehearse" not in await inside(home, ident, "ls /bin /usr/bin 2>/dev/null")
    assert (await inside(home, ident, "ls /proc | grep -c '^[0-9]'")).strip() in ("3", "4", "5")


async def test_a_clone_has_its_own_disk_of_its_own_size_and_keeps_it(home: RealHouse) -> None:
    ident = await clone(home, "disk")
    kib = int((await inside(home, ident, "df -k / | tail -n 1 | awk '{print $2}'")).split()[0])
    assert kib * 1024 <= home.config.rootfs_size
    assert await inside(home, ident, "echo mine > /kept && sync && cat /kept") == "mine\n"
    await home.containers.restart(T, ident, 0)
    assert await inside(home, ident, "cat /kept") == "mine\n"


async def test_clones_reach_each_other(home: RealHouse) -> None:
    one, other = await clone(home, "one"), await clone(home, "other")
    address = home.node.get(other).pod.port.places[0].address.partition("/")[0]
    assert "1 packets received" in await inside(home, one, f"ping -c 1 -W 5 {address}")


async def test_vms_that_wait_end_with_the_daemon_and_containers_do_not(home: RealHouse) -> None:
    ident = await clone(home, "mine")
    await home.close()
    try:
        assert len(hypervisors(home.config)) == 1
    finally:
        await home.open()
    assert await inside(home, ident, "echo well") == "well\n"
