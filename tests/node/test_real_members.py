# SPDX-License-Identifier: Apache-2.0
"""What two containers of one VM have in common, seen from inside real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.cloud.contract import ExecRequest, MountRequest, Status
from tests.support.house import T, eventually, read
from tests.support.real_house import RealHouse, real_house

pytestmark = [pytest.mark.vm, pytest.mark.root]
DATA = (MountRequest("/data", "data"),)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[RealHouse]:
    async with real_house(tmp_path) as built:
        yield built


async def inside(home: RealHouse, ident: str, line: str) -> str:
    """What a line for the shell writes in a container."""
    exec_id = await home.containers.exec_create(T, ident, ExecRequest(args=("sh", "-c", line)))
    attachment = await home.containers.exec_start(T, exec_id, detach=False)
    return (await read(attachment.output())).decode().strip()


async def gone(home: RealHouse, ident: str) -> None:
    async def left() -> bool:
        end = home.node.get(ident).vm_end
        return end is not None and end.done()

    await eventually(left)


async def test_a_member_has_network_and_processes_of_the_other_and_files_of_its_own(home: RealHouse) -> None:
    host = await home.run_polite(name="host")
    joins = {"network": "host", "pid": "host"}
    it = await home.run_polite(name="it", joins=joins, mounts=DATA)
    assert {host, it} & {*await home.vms()} == {host}
    # The network: one address, one name, one localhost.
    assert await inside(home, it, "hostname") == await inside(home, host, "hostname")
    assert await inside(home, it, "cat /proc/net/dev") != ""
    for what in ("readlink /proc/self/ns/net", "readlink /proc/self/ns/pid", "cat /etc/hosts"):
        assert await inside(home, it, what) == await inside(home, host, what)
    for what in ("readlink /proc/self/ns/ipc", "readlink /proc/self/ns/mnt", "readlink /proc/self/ns/uts"):
        assert await inside(home, it, what) != await inside(home, host, what)
    assert await inside(home, host, "nc -l -p 4000 -e echo hello >/dev/null 2>&1 & sleep 0.2; echo up") == "up"
    assert await inside(home, it, "nc 127.0.0.1 4000 </dev/null") == "hello"
    # Processes: it sees those of the other, and may signal them.
    assert "trap" in await inside(home, it, "tr '\\0' ' ' </proc/1/cmdline")
    # Files: each has its own.
    await inside(home, it, "echo mine > /own; echo kept > /data/file")
    assert await inside(home, host, "ls /own /data 2>&1 | grep -c 'No such'") == "2"
    await home.containers.stop(T, it, 5)
    await gone(home, it)
    assert await home.status(host) is Status.RUNNING
    await home.containers.start(T, it)
    assert await inside(home, it, "cat /own /data/file") == "mine\nkept"
    # The end of the other is its own.
    await home.containers.stop(T, host, 5)
    assert await home.wait(it) == 137
    assert (await home.view(it)).state.error.startswith("the container whose VM it is in has ended")
    await home.settled()
    assert host not in await home.vms()
    reader = await home.run("cat", "/data/file", mounts=DATA)
    assert await home.wait(reader) == 0 and await home.output(reader) == b"kept\n"


async def test_a_member_is_found_again_and_ends_without_the_other(home: RealHouse) -> None:
    host = await home.run_polite(name="host")
    it = await home.run_polite(joins={"network": "host"})
    await home.reopen()
    assert await home.status(it) is Status.RUNNING
    assert await inside(home, it, "echo here") == "here"
    await home.containers.remove(T, it, force=True)
    await home.settled()
    assert await home.status(host) is Status.RUNNING
    another = await home.run("sh", "-c", "exit 9", joins={"network": "host"})
    assert await home.wait(another) == 9
