# SPDX-License-Identifier: Apache-2.0
"""One failure takes nothing else with it: no other container, no client that waits, nothing that was reserved."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base import crash
from hypercell.base.errors import Conflict, ExecFailed, Internal, NoSpace, VmFailed
from hypercell.cloud.contract import ExecRequest, PublishedPort, RestartPolicy, Status
from hypercell.node.guest_state import parse
from tests.support.house import House, T, eventually, read
from tests.support.machine import MachineDriver

WEB = (PublishedPort(80, "tcp", "", 8080),)


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[House]:
    """A house whose daemon a test opens and closes."""
    built = House(tmp_path)
    await built.machine.start()
    yield built
    await built.close()
    await built.machine.close()


def discard_fails(monkeypatch: pytest.MonkeyPatch, *vm_ids: str) -> None:
    discard = MachineDriver.discard

    async def failing(self: MachineDriver, vm_id: str) -> None:
        if not vm_ids or vm_id in vm_ids:
            raise OSError("no such luck")
        await discard(self, vm_id)

    monkeypatch.setattr(MachineDriver, "discard", failing)


class TestTheDaemonComesUp:
    async def test_whatever_a_guest_says_of_its_streams(self, closed: House) -> None:
        await closed.open()
        liar, honest = await closed.run("sleep", "infinity"), await closed.run("sleep", "infinity")
        exec_id = await closed.containers.exec_create(T, liar, ExecRequest(("sleep", "infinity")))
        await closed.containers.exec_start(T, exec_id, detach=False)
        await closed.close()
        process = closed.machine.guest(liar).containers[liar].processes[exec_id]
        assert process.stdout is not None
        process.stderr = process.stdout
        await closed.open()
        assert (await closed.view(liar)).vm["reason"] == "agent-lost"
        assert await closed.status(honest) is Status.RUNNING

    async def test_when_the_log_of_a_container_cannot_be_read(self, closed: House) -> None:
        await closed.open()
        broken, well = await closed.run("sleep", "infinity"), await closed.run("sleep", "infinity")
        await closed.close()
        (closed.config.containers / broken / "log").write_text("not a directory")
        await closed.open()
        assert await closed.status(well) is Status.RUNNING
        await closed.containers.remove(T, broken, force=True)
        assert broken not in await closed.leftovers()

    async def test_when_a_vm_that_belongs_to_nobody_cannot_be_removed(
        self, closed: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await closed.open()
        stray, well = await closed.run("sleep", "infinity"), await closed.run("sleep", "infinity")
        await closed.db.run(lambda tx: tx.execute("DELETE FROM containers WHERE id = ?", (stray,)) and None)
        await closed.db.run(lambda tx: tx.execute("DELETE FROM pods WHERE id = ?", (stray,)) and None)
        await closed.close()
        discard_fails(monkeypatch, stray)
        await closed.open()
        assert await closed.status(well) is Status.RUNNING

    async def test_and_frees_the_host_ports_of_what_does_not_run(self, closed: House) -> None:
        await closed.open()
        ended = await closed.run("true", published=WEB)
        await closed.wait(ended)
        await closed.settled()
        await closed.network.publish(ended, WEB)  # as left by a daemon killed between the end of the VM and theirs
        await closed.reopen()
        assert closed.network.ports[ended].published == ()
        await closed.run("sleep", "infinity", published=WEB)


def test_one_stream_for_two_is_no_state() -> None:
    stream = {"stream": 7, "base": 0, "end": 0, "eof": False}
    process = {"process": "init", "status": "running", "pid": 2, "stdout": stream, "stderr": stream}
    with pytest.raises(VmFailed, match="makes no sense"):
        parse({"containers": [{"container": "c", "status": "running", "processes": [process]}]})


class TestAFailedStart:
    async def test_is_told_to_its_clients_even_if_its_vm_cannot_be_removed(
        self, home: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ident = await home.create("true", published=WEB)
        attachment = await home.containers.attach(T, ident, False, True, True)
        home.machine.refuse = "no such option"
        discard_fails(monkeypatch)
        with pytest.raises(VmFailed, match="no such option"):
            await home.containers.start(T, ident)
        async with asyncio.timeout(5):
            assert await read(attachment.output()) == b""
        assert home.network.ports[ident].published == ()

    async def test_of_an_exec_is_an_event(self, home: House) -> None:
        ident = await home.run("sleep", "infinity")
        exec_id = await home.containers.exec_create(T, ident, ExecRequest(("nothere",)))
        with pytest.raises(ExecFailed):
            await home.containers.exec_start(T, exec_id, detach=False)
        assert home.attributes(ident, "exec_die") == {"execID": exec_id, "exitCode": "127"}


async def test_what_follows_an_end_comes_even_if_the_vm_cannot_be_removed(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident = await home.create("false", restart=RestartPolicy("on-failure", 1))
    await home.containers.start(T, ident)
    discard_fails(monkeypatch)
    await home.restarts(ident, 1)


async def test_an_exec_that_outlived_its_daemon_is_told_when_it_ends(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    exec_id = await home.containers.exec_create(T, ident, ExecRequest(("sleep", "infinity")))
    await home.containers.exec_start(T, exec_id, detach=True)
    await home.reopen()
    home.machine.guest(ident).containers[ident].processes[exec_id].exit(9)

    async def told() -> bool:
        return "exec_die" in home.actions(ident)

    await eventually(told)
    assert home.attributes(ident, "exec_die") == {"execID": exec_id, "exitCode": "9"}


async def test_a_pause_that_comes_too_late_leaves_no_paused_container(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident = await home.run("sleep", "infinity")
    agent = home.node.get(ident).agent()

    async def late(op: str, *_: object) -> dict[str, object]:
        assert op == "container.pause"
        monkeypatch.undo()
        home.machine.crash(ident)
        await home.wait(ident)
        return {}

    monkeypatch.setattr(type(agent), "request", lambda self, *args: late(*args))
    with pytest.raises(Conflict, match="is not running"):
        await home.containers.pause(T, ident)
    assert await home.status(ident) is Status.EXITED


async def test_a_create_that_fails_waits_for_what_it_began(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = threading.Event(), threading.Event()

    def slow(point: str) -> None:
        if point == "storage-directory":
            began.set()
            ended.wait(0.2)
            ended.set()

    async def full(*_: object) -> None:
        await asyncio.to_thread(began.wait, 5)
        raise Conflict("the subnet is full")

    monkeypatch.setattr(home.network, "allocate", full)
    crash.set_hook(slow)
    try:
        with pytest.raises(Conflict, match="full"):
            await home.create("true")
    finally:
        crash.set_hook(None)
    assert ended.is_set() and await home.leftovers() == []


async def test_a_create_whose_directory_cannot_be_removed_still_gives_its_address_back(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.create("true", name="one")

    async def failing(container_id: str) -> None:
        raise Internal("no such luck")

    async def taken(*_: object) -> None:
        raise Conflict("taken")

    monkeypatch.setattr(home.node.services.storage, "remove", failing)
    monkeypatch.setattr(home.node.services.records, "insert", taken)
    with pytest.raises(Internal):
        await home.create("true")
    assert len(home.network.ports) == 1


async def test_a_removal_makes_the_space_that_it_needs(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ident = await home.create("true")
    records, storage = home.node.services.records, home.node.services.storage
    delete = records.delete

    async def full(record: object, volumes: object) -> None:
        if storage.writable(ident).exists():
            raise NoSpace("the disk of the database is full")
        await delete(record, volumes)  # type: ignore[arg-type]

    monkeypatch.setattr(records, "delete", full)
    await home.containers.remove(T, ident)
    await home.settled()
    assert await home.leftovers() == []


async def test_files_that_nobody_fetches_are_closed_in_the_guest(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    guest = home.machine.guest(ident)
    before = set(guest.outputs)
    _, content = await home.containers.archive_get(T, ident, "/")
    assert set(guest.outputs) > before
    await content.aclose()

    async def closed() -> bool:
        return set(guest.outputs) == before

    await eventually(closed)


async def test_sysctls_of_the_network_reach_the_vm(home: House) -> None:
    ident = await home.run("sleep", "infinity", sysctls={"net.core.somaxconn": "9"})
    assert home.machine.guest(ident).configuration["sysctl"] == {"net.core.somaxconn": "9"}


async def test_a_full_disk_keeps_nobody_from_stopping_a_container(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ident = await home.run("sleep", "infinity", restart=RestartPolicy("always"))

    async def full(record: object) -> None:
        raise NoSpace("the disk of the database is full")

    monkeypatch.setattr(home.node.services.records, "save", full)
    await home.containers.stop(T, ident)
    await home.settled()
    assert await home.status(ident) is Status.EXITED and home.machine.vms == {}


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.003, 0.01])
async def test_two_who_restart_a_container_leave_it_running(home: House, delay: float) -> None:
    ident = await home.run("sleep", "infinity", auto_remove=True)

    async def later() -> None:
        await asyncio.sleep(delay)
        await home.containers.restart(T, ident)

    results = await asyncio.gather(home.containers.restart(T, ident), later(), return_exceptions=True)
    assert all(result is None or isinstance(result, Conflict) for result in results)
    assert None in results and await home.status(ident) is Status.RUNNING
