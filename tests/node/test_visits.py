# SPDX-License-Identifier: Apache-2.0
"""Files of containers that do not run: in a throw-away guest, of which nothing is left and nobody else notices."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hypercell.agent.fake import Faults
from hypercell.agent.fake import archive as fake
from hypercell.base.errors import Conflict, HypercellError, InvalidArgument, NotFound, VmFailed
from hypercell.cloud.contract import Change, ChangeKind, Status
from tests.support.house import House, Resident, T, eventually
from tests.support.real_house import RealHouse, real_house


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealHouse]:
    async with real_house(tmp_path) as built:
        yield built


def packed(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def fetched(content: AsyncIterator[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(b"".join([chunk async for chunk in content])))


async def changes(home: Resident, ident: str) -> list[Change]:
    return [change async for several in await home.containers.changes(T, ident) for change in several]


async def exported(home: Resident, ident: str) -> list[str]:
    with await fetched(await home.containers.export(T, ident)) as tar:
        return tar.getnames()


@pytest.mark.vm
@pytest.mark.root
async def test_what_is_put_into_a_stopped_container_is_there_when_it_starts(real: RealHouse) -> None:
    ident = await real.create("sh", "-c", "cat /root/note; echo written >/root/answer; rm /root/note")
    await real.containers.archive_put(T, ident, "/root", body(packed("note", b"read me")))
    assert await changes(real, ident) == [
        Change(b"/root", ChangeKind.MODIFIED),
        Change(b"/root/note", ChangeKind.ADDED),
    ]
    assert await real.status(ident) is Status.CREATED
    await real.containers.start(T, ident)
    assert await real.wait(ident) == 0
    assert await real.output(ident) == b"read me"
    _, content = await real.containers.archive_get(T, ident, "/root/answer")
    with await fetched(content) as tar:
        answer = tar.extractfile("answer")
        assert answer is not None and answer.read() == b"written\n"
    assert [change.path for change in await changes(real, ident)] == [b"/root", b"/root/answer"]
    assert "root/answer" in await exported(real, ident)
    assert await real.vms() == []


@pytest.mark.vm
@pytest.mark.root
async def test_a_root_that_is_read_only_is_so_when_nothing_runs_too(real: RealHouse) -> None:
    ident = await real.create("true", read_only=True)
    with pytest.raises(InvalidArgument, match="Read-only"):
        await real.containers.archive_put(T, ident, "/root", body(packed("note", b"x")))
    assert await changes(real, ident) == []
    assert "root" in await exported(real, ident)


@pytest.mark.vm
@pytest.mark.root
async def test_a_container_that_cannot_be_started_can_be_mended(real: RealHouse) -> None:
    ident = await real.create("/root/program", user="1234:99")
    with pytest.raises(HypercellError, match="no such file"):
        await real.containers.start(T, ident)
    found = await real.containers.archive_stat(T, ident, "/bin/busybox")
    assert found["name"] == "busybox"
    with pytest.raises(NotFound):
        await real.containers.archive_stat(T, ident, "/root/program")
    await real.containers.archive_put(T, ident, "/", body(packed("owned", b"x")), copy_uid_gid=True)
    with await fetched((await real.containers.archive_get(T, ident, "/owned"))[1]) as tar:
        assert (tar.getmember("owned").uid, tar.getmember("owned").gid) == (1234, 99)


async def test_nothing_is_left_of_it_and_the_state_is_what_it_was(any_home: Resident) -> None:
    created, ended = await any_home.create("true"), await any_home.run("true")
    await any_home.wait(ended)
    for ident, status in ((created, Status.CREATED), (ended, Status.EXITED)):
        before = await any_home.view(ident)
        assert await changes(any_home, ident) == []
        assert "etc" in await exported(any_home, ident)
        assert (await any_home.view(ident)).state == before.state
        assert before.state.status is status
    assert any_home.actions(created) == ["create"]
    assert await any_home.vms() == []
    for ident in (created, ended):
        await any_home.containers.remove(T, ident)
    assert await any_home.leftovers() == []


async def test_what_is_asked_of_a_running_container_is_asked_of_its_own_guest(any_home: Resident) -> None:
    ident = await any_home.run_polite()
    pod = any_home.node.get(ident).pod
    vm = pod.vm
    assert "etc" in await exported(any_home, ident)
    assert await changes(any_home, ident) == []
    assert pod.vm is vm
    assert await any_home.status(ident) is Status.RUNNING


async def test_a_start_waits_for_who_looks(home: House) -> None:
    ident = await home.create("sleep", "infinity")
    content = await home.containers.export(T, ident)
    starting = asyncio.ensure_future(home.containers.start(T, ident))
    assert home.machine.launches == 1
    with await fetched(content) as tar:
        assert "etc" in tar.getnames()
    await starting
    assert await home.status(ident) is Status.RUNNING
    assert home.machine.launches == 2


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives are longer than what is under way between guest and client."""
    send = fake._send
    monkeypatch.setattr(fake, "_send", lambda guest, members, data: send(guest, members, data + bytes(4 << 20)))


@pytest.mark.usefixtures("long")
async def test_who_stops_reading_does_not_keep_it_from_starting(home: House) -> None:
    services = home.node.services
    services.bounds = replace(services.bounds, idle=0.05)
    ident = await home.create("sleep", "infinity")
    content = await home.containers.export(T, ident)

    async def ended() -> bool:
        return not home.machine.running()

    await eventually(ended)
    await home.containers.start(T, ident)
    with pytest.raises(Conflict, match="not read any further"):
        await fetched(content)


@pytest.mark.usefixtures("long")
async def test_a_removal_ends_it(home: House) -> None:
    ident = await home.create("true")
    content = await home.containers.export(T, ident)
    await home.containers.remove(T, ident)
    with pytest.raises(Conflict, match="was removed meanwhile"):
        await fetched(content)
    assert await home.leftovers() == []


async def test_a_removal_ends_it_while_it_boots(home: House) -> None:
    ident = await home.create("true")
    home.machine.faults = Faults(mute=True)
    asking = asyncio.ensure_future(home.containers.export(T, ident))

    async def booting() -> bool:
        return bool(home.machine.running())

    await eventually(booting)
    await home.containers.remove(T, ident)
    with pytest.raises(Conflict, match="was removed meanwhile"):
        await asking
    assert await home.leftovers() == []


async def test_a_client_that_goes_takes_the_guest_along(home: House) -> None:
    ident = await home.create("true")
    for ask in (home.containers.export, home.containers.changes):
        await (await ask(T, ident)).aclose()
        assert await home.vms() == []
    await home.containers.start(T, ident)


async def test_a_request_that_is_called_off_leaves_nothing(home: House) -> None:
    ident = await home.create("true")
    home.machine.faults = Faults(silent={"container.create"})
    asking = asyncio.ensure_future(home.containers.export(T, ident))

    async def booted() -> bool:
        return bool(home.machine.vms)

    await eventually(booted)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await home.vms() == []


async def test_a_vm_that_cannot_be_launched_is_told_and_changes_nothing(home: House) -> None:
    ident = await home.create("true")
    home.machine.refuse = "hypervisor-failed"
    with pytest.raises(VmFailed):
        await home.containers.export(T, ident)
    home.machine.refuse = ""
    assert await home.status(ident) is Status.CREATED
    assert (await home.view(ident)).state.error == ""
    assert await home.vms() == []
    await home.containers.start(T, ident)
    assert await home.wait(ident) == 0


async def test_a_tar_that_is_none_keeps_nothing_waiting(home: House) -> None:
    ident = await home.create("true")
    with pytest.raises(InvalidArgument):
        await home.containers.archive_put(T, ident, "/", body(b"x" * 100_000))
    assert await home.vms() == []
