# SPDX-License-Identifier: Apache-2.0
"""`kill -9` of the daemon at every step of a member's life: the container in whose VM it is goes on, and nothing of it
is lost or left in there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base.errors import NotFound
from hypercell.cloud.contract import Status
from tests.node.test_killed_daemon import killed_at
from tests.support.house import House, T, eventually


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    built = House(tmp_path)
    await built.machine.start()
    yield built
    await built.close()
    await built.machine.close()


async def host_alone(home: House) -> str:
    """The host goes on, and there is nothing else in its VM."""
    host = str((await home.view("host")).id)

    async def alone() -> bool:
        return not home.machine.vms[host].plugged and set(home.machine.guest(host).containers) == {host}

    await eventually(alone)
    assert await home.status(host) is Status.RUNNING
    assert home.machine.running() == [host] and home.ports() == {host}
    return host


async def gone(home: House) -> None:
    with pytest.raises(NotFound):
        await home.view("it")
    host = await host_alone(home)
    assert [path.name for path in home.config.containers.iterdir()] == [host]


@pytest.mark.parametrize("point", ["create-begin", "storage-directory", "create-prepared"])
async def test_a_member_half_made_is_none(home: House, point: str) -> None:
    await killed_at(home, point, "member", "no", "true", count=2)
    await home.open()
    await gone(home)


START = [("create-recorded", 2), ("start-begin", 2), ("start-recorded", 2), ("member-plugging", 1)]
MADE = [("member-plugged", 1), ("container-created", 2)]


@pytest.mark.parametrize(("point", "count"), [*START, *MADE])
async def test_a_start_half_done_is_undone_and_can_be_done_again(home: House, point: str, count: int) -> None:
    await killed_at(home, point, "member", "no", "sh", "-c", "echo up; exit 4", count=count)
    await home.open()
    await host_alone(home)
    assert await home.status("it") in (Status.CREATED, Status.EXITED)
    await home.containers.start(T, "it")
    assert await home.wait("it") == 4
    assert await home.output("it") == b"up\n"
    await host_alone(home)


@pytest.mark.parametrize(("point", "count"), [*START[1:], *MADE, ("container-started", 2)])
async def test_a_start_half_done_is_finished_if_the_policy_wants_it(home: House, point: str, count: int) -> None:
    await killed_at(home, point, "member", "unless-stopped", "sh", "-c", "echo up; sleep infinity", count=count)
    await home.open()
    if point == "start-begin":
        await home.containers.start(T, "it")  # nothing was written down
    await home.until("it", Status.RUNNING)
    await home.writes("it", b"up\n")


@pytest.mark.parametrize("point", ["exit-seen", "exit-recorded", "member-deleted", "member-left"])
async def test_an_end_is_told_and_taken_out_of_the_vm(home: House, point: str) -> None:
    await killed_at(home, point, "member", "no", "sh", "-c", "echo one; exit 6")
    await home.open()
    assert await home.wait("it") == 6
    assert await home.output("it") == b"one\n"
    await host_alone(home)
    (volume,) = home.node.services.volumes.of(T)
    assert home.node.services.claims.users(volume.id) == [(await home.view("it")).id]
    await home.containers.start(T, "it")
    assert await home.wait("it") == 6


@pytest.mark.parametrize("point", ["record-deleted", "remove-vm", "remove-directory", "removed"])
async def test_a_member_half_removed_is_gone(home: House, point: str) -> None:
    await killed_at(home, point, "member", "no", "true")
    await home.open()
    await gone(home)


async def test_the_vm_of_one_that_was_removed_is_gone_though_it_has_a_member(home: House) -> None:
    await killed_at(home, "create-recorded", "member", "no", "true", count=2)
    await home.close()
    await home.open()
    await home.close()
    await killed_at(home, "record-deleted", "rm", "host")
    assert home.machine.running(), "its VM is still there"
    await home.open()
    assert home.machine.vms == {} and home.ports() == set()
    await home.containers.remove(T, "it")
    assert await home.leftovers() == []
