# SPDX-License-Identifier: Apache-2.0
"""Volumes outlive containers; one VM writes to each, or any number read it; nothing of them is lost or left."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import hypercell.node.volumes.storage as storage_module
from hypercell.agent.fake import Faults
from hypercell.base.errors import Conflict, HypercellError, Internal, NotFound, Unsupported, VmFailed
from hypercell.cloud.contract import MountRequest, RestartPolicy, Status, VolumeRequest, VolumesFrom
from hypercell.node.volumes import VolumeStore, serial
from tests.support.house import House, Resident, T, eventually

DATA = {"mounts": (MountRequest("/data", "data"),)}
ONLY_READ = {"mounts": (MountRequest("/data", "data", read_only=True),)}
OWN = {"volumes": ("/own",)}


def store(home: Resident) -> VolumeStore:
    return home.node.services.volumes


def names(home: Resident) -> list[str]:
    return [volume.name for volume in store(home).of(T)]


def disks(home: Resident) -> set[str]:
    return {path.name for path in home.config.volumes.iterdir()}


def nothing_is_left_of_others(home: Resident) -> None:
    assert disks(home) == {volume.id for volume in store(home).of(T)}


def plugged(home: House, ident: str) -> dict[str, bool]:
    """By the names of volumes: whether they are read-only in the VM."""
    found = home.machine.vms[ident].plugged
    return {one.name: found[serial(one.id)][1] for one in store(home).of(T) if serial(one.id) in found}


async def make(home: House, name: str = "data") -> None:
    assert home.cloud is not None
    await home.cloud.volumes.create(T, VolumeRequest(name))


async def until_it_waits(home: House, ident: str) -> None:
    """For its volumes."""
    container = home.node.get(ident)

    async def waits() -> bool:
        return container.starting and container.place is None

    await eventually(waits)


async def test_its_disk_is_in_the_vm_before_the_container_is(home: House) -> None:
    home.machine.faults = Faults(silent={"container.create"})
    ident = await home.create("true", **DATA)
    starting = asyncio.ensure_future(home.containers.start(T, ident))

    async def asked() -> bool:
        return ident in home.machine.vms and ident in home.machine.guest(ident).containers

    await eventually(asked)
    assert plugged(home, ident) == {"data": False}
    with pytest.raises(VmFailed):
        await starting
    (mount,) = (mount for mount in home.node.get(ident).record.spec.oci["mounts"] if mount["destination"] == "/data")
    assert mount == {
        "destination": "/data",
        "type": "hypercell.volume",
        "source": serial(store(home).of(T)[0].id),
        "options": ["rw", "copy"],
    }


async def test_an_update_leaves_its_volumes_to_it(home: House) -> None:
    ident = await home.create("sleep", "infinity", **DATA, **OWN)
    await home.containers.update(T, ident, memory=64 * 1024**2)
    await home.reopen()
    await home.containers.start(T, ident)
    assert len(plugged(home, ident)) == 2
    await home.containers.remove(T, ident, force=True, volumes=True)
    assert names(home) == ["data"]


async def test_a_container_without_volumes_is_plugged_nothing(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    assert home.machine.vms[ident].plugged == {}
    assert all(step.name != "volumes" for step in (await home.view(ident)).trace.steps)


async def test_a_guest_that_knows_no_volumes_is_told_apart(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypercell.agent.fake.guest._FEATURES", ["exec"])
    ident = await home.create("true", **DATA)
    with pytest.raises(Unsupported, match="make guest"):
        await home.containers.start(T, ident)
    assert home.machine.vms == {}


# Who may have it


@pytest.mark.parametrize(("first", "second"), [(DATA, DATA), (DATA, ONLY_READ), (ONLY_READ, DATA)])
async def test_beside_one_that_writes_nobody_starts(home: House, first: Any, second: Any) -> None:
    await make(home)
    running = await home.run("sleep", "infinity", name="first", **first)
    other = await home.create("true", **second)
    with pytest.raises(Conflict) as refused:
        await home.containers.start(T, other)
    assert f'volume "data" is used by the container "first" ({running[:12]})' in str(refused.value)
    assert "stop that one first (stop first)" in str(refused.value)
    assert await home.status(other) is Status.CREATED and (await home.view(other)).state.exit_code == 128
    assert home.machine.running() == [running]
    await home.containers.stop(T, running)
    await home.containers.start(T, other)
    assert await home.wait(other) == 0


async def test_any_number_may_read_one(home: House) -> None:
    await make(home)
    idents = [await home.create("sleep", "infinity", **ONLY_READ) for _ in range(3)]
    await asyncio.gather(*(home.containers.start(T, ident) for ident in idents))
    assert [plugged(home, ident) for ident in idents] == [{"data": True}] * 3


async def test_one_that_is_mounted_twice_is_one_disk_and_writable_if_it_is_so_anywhere(home: House) -> None:
    mounts = (
        *DATA["mounts"],
        MountRequest("/also", "data", read_only=True),
        MountRequest("/x", "other", read_only=True),
    )
    ident = await home.run("sleep", "infinity", mounts=mounts)
    assert plugged(home, ident) == {"data": False, "other": True}
    assert names(home) == ["data", "other"]


async def test_what_was_not_let_go_of_in_order_is_put_in_order_for_those_who_read(home: House) -> None:
    ident = await home.run("sleep", "infinity", **DATA)
    home.machine.crash(ident)
    await home.wait(ident)
    await home.settled()
    assert not store(home).of(T)[0].clean
    home.machine.faults = Faults(delays={"container.delete": 0.1})
    idents = [await home.create("sleep", "infinity", **ONLY_READ) for _ in range(2)]
    await asyncio.gather(*(home.containers.start(T, ident) for ident in idents))
    assert store(home).of(T)[0].clean
    assert [plugged(home, ident) for ident in idents] == [{"data": True}] * 2


async def test_a_writer_leaves_it_in_order_when_it_ends_in_order(home: House) -> None:
    assert await home.wait(await home.run("true", **DATA)) == 0
    await home.settled()
    assert store(home).of(T)[0].clean
    ident = await home.run("sleep", "infinity", **DATA)
    assert not store(home).of(T)[0].clean
    await home.reopen()
    assert not store(home).of(T)[0].clean
    await home.containers.stop(T, ident)
    await home.settled()
    assert store(home).of(T)[0].clean


async def test_a_start_waits_for_a_vm_that_is_ending(home: House) -> None:
    first = await home.run("sleep", "infinity", **DATA)
    home.machine.guest(first).faults = Faults(delays={"shutdown": 0.3})
    other = await home.create("true", **DATA)
    await home.containers.kill(T, first)
    await home.containers.start(T, other)
    assert await home.wait(other) == 0


async def test_a_start_that_waits_can_be_stopped(home: House) -> None:
    first = await home.run("sleep", "infinity", **DATA)
    home.machine.guest(first).faults = Faults(delays={"shutdown": 0.8})
    other = await home.create("true", **DATA)
    await home.containers.kill(T, first)
    starting = asyncio.ensure_future(home.containers.start(T, other))
    await until_it_waits(home, other)
    async with asyncio.timeout(0.7):
        await home.containers.stop(T, other)
        with pytest.raises(Conflict):
            await starting


@pytest.mark.parametrize("fault", ["die_on", "errors"])
async def test_a_start_that_fails_gives_it_back(home: House, fault: str) -> None:
    value: dict[str, object] = {"die_on": {"container.create"}, "errors": {"container.create": ("internal", "no")}}
    home.machine.faults = Faults(**{fault: value[fault]})  # type: ignore[arg-type]
    ident = await home.create("true", **DATA)
    with pytest.raises((VmFailed, Internal)):
        await home.containers.start(T, ident)
    home.machine.faults = Faults()
    other = await home.run("true", **DATA)
    assert await home.wait(other) == 0


async def test_a_daemon_that_comes_back_knows_who_has_what(home: House) -> None:
    running = await home.run("sleep", "infinity", name="it", **DATA)
    other = await home.create("true", **DATA)
    await home.reopen()
    with pytest.raises(Conflict, match='used by the container "it"'):
        await home.containers.start(T, other)
    home.machine.crash(running)
    await home.wait(running)
    await home.containers.start(T, other)
    assert await home.wait(other) == 0


async def test_a_crashed_vm_gives_it_back(home: House) -> None:
    ident = await home.run("sleep", "infinity", restart=RestartPolicy("on-failure", 3), **DATA)
    home.machine.crash(ident)
    await home.restarts(ident, 1)
    await home.until(ident, Status.RUNNING)
    assert plugged(home, ident) == {"data": False}


# What becomes of what was written


@pytest.mark.parametrize("way", ["stop", "kill", "remove", "auto-remove"])
async def test_a_guest_writes_back_a_volume_however_its_container_ends(home: House, way: str) -> None:
    ended: list[str] = []
    ident = await home.run("sleep", "infinity", auto_remove=way == "auto-remove", **DATA)
    guest = home.machine.guest(ident)
    shut_down = guest._on_shutdown

    def in_order() -> None:
        ended.append("in order")
        shut_down()

    guest._on_shutdown = in_order
    if way == "remove":
        await home.containers.remove(T, ident, force=True)
    elif way == "stop":
        await home.containers.stop(T, ident)
    else:
        await home.containers.kill(T, ident)

    async def over() -> bool:
        return ident not in home.machine.vms

    await eventually(over)
    assert ended == ["in order"]
    assert store(home).of(T)[0].clean


async def test_a_removal_is_over_when_another_can_have_its_volume(home: House) -> None:
    ident = await home.run("sleep", "infinity", **DATA)
    home.machine.guest(ident).faults = Faults(delays={"shutdown": 0.2})
    await home.containers.remove(T, ident, force=True)
    assert ident not in home.machine.running()


async def test_a_guest_that_does_not_write_back_does_not_hold_up_the_removal(home: House) -> None:
    ident = await home.run("stubborn", **DATA)
    home.machine.guest(ident).faults = Faults(silent={"shutdown", "process.signal"})
    async with asyncio.timeout(10):
        await home.containers.remove(T, ident, force=True)
    assert not store(home).of(T)[0].clean


# Making and removing


async def test_only_what_nobody_named_goes_with_its_container(home: House) -> None:
    kept = await home.create("true", **DATA, **OWN)
    gone = await home.create("true", **DATA, **OWN)
    assert len(names(home)) == 3
    await home.containers.remove(T, kept)
    assert len(names(home)) == 3
    await home.containers.remove(T, gone, volumes=True)
    assert len(names(home)) == 2 and "data" in names(home)
    nothing_is_left_of_others(home)


async def test_an_auto_removed_container_takes_its_own_along(home: House) -> None:
    ident = await home.create("true", auto_remove=True, **DATA, **OWN)
    waiting = asyncio.ensure_future(home.wait(ident, "removed"))
    await asyncio.sleep(0)
    await home.containers.start(T, ident)
    assert await waiting == 0
    assert names(home) == ["data"]
    nothing_is_left_of_others(home)


async def test_a_disk_that_cannot_be_made_leaves_nothing(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage_module, "clone", full)
    with pytest.raises(HypercellError, match="no space for"):
        await make(home)
    with pytest.raises(HypercellError, match="no space for"):
        await home.create("true", **DATA, **OWN)
    assert names(home) == [] and disks(home) == set()
    assert await home.containers.list(T, all=True) == [] and home.network.ports == {}


async def test_one_of_many_who_make_the_same_makes_it(home: House) -> None:
    await asyncio.gather(*(make(home) for _ in range(4)), *(home.create("true", **DATA) for _ in range(4)))
    assert names(home) == ["data"]
    nothing_is_left_of_others(home)


async def test_a_volume_is_its_tenants_alone(home: House) -> None:
    await make(home)
    assert home.cloud is not None
    volumes = home.cloud.volumes
    assert await volumes.list("other") == []
    for attempt in (volumes.inspect("other", "data"), volumes.remove("other", "data")):
        with pytest.raises(NotFound, match="get data: no such volume"):
            await attempt
    assert (await volumes.prune("other", lambda view: True))[0] == []
    await volumes.create("other", VolumeRequest("data"))
    assert len(disks(home)) == 2


async def test_cp_of_a_container_that_does_not_run_has_its_volumes_and_export_has_not(home: House) -> None:
    ident = await home.create("true", **DATA)
    home.machine.faults = Faults(delays={"archive.stat": 0.1})
    _, found = await asyncio.gather(home.containers.archive_stat(T, ident, "/etc"), _plugged_later(home, ident))
    assert found == {"data": False}
    content = await home.containers.export(T, ident)
    await anext(content)
    assert plugged(home, ident) == {}
    await content.aclose()


async def _plugged_later(home: House, ident: str) -> dict[str, bool]:
    async def there() -> bool:
        return ident in home.machine.vms and bool(plugged(home, ident))

    await eventually(there)
    return plugged(home, ident)


async def test_cp_of_what_another_writes_to_is_refused(home: House) -> None:
    await home.run("sleep", "infinity", name="it", **DATA)
    other = await home.create("true", **DATA)
    with pytest.raises(Conflict, match='used by the container "it"'):
        await home.containers.archive_stat(T, other, "/etc")
    assert len(home.machine.running()) == 1


# Records


TORN = [
    "UPDATE volumes SET labels = '{'",
    "UPDATE volumes SET options = '[1]'",
    "UPDATE volumes SET size = 'large'",
    "UPDATE volumes SET name = x'ff'",
    "UPDATE volumes SET tenant = ''",
    "UPDATE volumes SET id = '../../etc'",
]


@pytest.mark.parametrize("sql", TORN)
async def test_a_row_that_cannot_be_read_takes_nothing_down_and_loses_nothing(
    home: House, sql: str, caplog: pytest.LogCaptureFixture
) -> None:
    ident = await home.create("true", **DATA)
    other = await home.create("true")
    kept = disks(home)
    await home.close()
    with sqlite3.connect(home.config.database) as connection:
        connection.execute(sql)
    connection.close()
    with caplog.at_level(logging.ERROR):
        await home.open()
    assert "a volume's record cannot be read" in caplog.text
    assert disks(home) == kept and names(home) == []
    with pytest.raises(NotFound, match="its record may be damaged"):
        await home.containers.start(T, ident)
    await home.containers.start(T, other)


async def test_nothing_is_pruned_while_nobody_knows_what_a_container_has(home: House) -> None:
    ident = await home.create("true", **OWN)
    await home.close()
    with sqlite3.connect(home.config.database) as connection:
        connection.execute("UPDATE pods SET spec = '{'")
    connection.close()
    await home.open()
    assert home.cloud is not None
    with pytest.raises(Conflict, match="not pruned while a container is dead"):
        await home.cloud.volumes.prune(T, lambda view: True)
    await home.containers.remove(T, ident)
    assert len((await home.cloud.volumes.prune(T, lambda view: True))[0]) == 1


async def damage(home: House, *queries: str) -> None:
    await home.close()
    with sqlite3.connect(home.config.database) as connection:
        for query in queries:
            connection.execute(query)
    connection.close()
    await home.open()


async def test_nothing_is_pruned_while_a_container_has_lost_its_id(home: House) -> None:
    ident = await home.create("true", **OWN)
    await damage(home, f"UPDATE containers SET id = x'ff' WHERE id = '{ident}'")
    assert home.cloud is not None
    with pytest.raises(Conflict, match="not pruned while a container has no id"):
        await home.cloud.volumes.prune(T, lambda view: True)
    assert len(names(home)) == 1


async def test_what_a_dead_container_may_have_does_not_go_with_another(home: House) -> None:
    first = await home.create("true", **OWN)
    other = await home.create("true", volumes_from=(VolumesFrom(first),))
    await damage(home, f"UPDATE pods SET spec = '{{' WHERE id = '{other}'")
    await home.containers.remove(T, first, volumes=True)
    assert len(names(home)) == len(disks(home)) == 1


async def test_a_volume_that_may_be_written_down_keeps_its_disk(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    db = store(home)._db
    true_note = db.note

    async def cut_short(work: Any) -> Any:
        await true_note(work)
        raise asyncio.CancelledError

    monkeypatch.setattr(db, "note", cut_short)
    with pytest.raises(asyncio.CancelledError):
        await make(home)
    monkeypatch.undo()
    await home.reopen()
    assert names(home) == ["data"]
    nothing_is_left_of_others(home)
