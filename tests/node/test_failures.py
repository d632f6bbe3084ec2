# SPDX-License-Identifier: Apache-2.0
"""What goes wrong is told apart, told to the user, and over in a bounded time; nothing half-made is left."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

import hypercell.node.logs.log as log_module
import hypercell.node.storage as storage_module
from hypercell.agent.fake import Faults
from hypercell.base.errors import HypercellError, Internal, NoSpace, VmFailed
from hypercell.cloud.contract import RestartPolicy, Status
from hypercell.vm.driver import ExitReason
from tests.support.house import House, T, eventually, house


def nothing_runs(home: House) -> None:
    assert home.machine.vms == {}
    assert all(port.published == () for port in home.network.ports.values())


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (ExitReason.GUEST_PANIC, "the guest's kernel panicked: last words"),
        (ExitReason.GUEST_RESET, "the VM reset itself: last words"),
        (ExitReason.KILLED, "the hypervisor was killed: last words"),
        (ExitReason.FAILED, "the hypervisor failed: last words"),
    ],
)
async def test_a_vm_that_dies_says_how(home: House, reason: ExitReason, words: str) -> None:
    ident = await home.run("sleep", "infinity")
    home.machine.crash(ident, reason, "last words")
    assert await home.wait(ident) == 255
    state = (await home.view(ident)).state
    assert state.error == words and state.exit_code == 255 and not state.oom_killed
    assert home.attributes(ident, "die")["reason"] == reason.value
    await home.settled()
    nothing_runs(home)


async def test_a_kernel_panic_of_one_leaves_the_other_well(home: House) -> None:
    other = await home.run("sleep", "infinity")
    ident = await home.run("sh", "-c", "echo before; sleep 0.05; panic")
    assert await home.wait(ident) == 255
    assert (await home.view(ident)).vm["reason"] == "guest-panic"
    assert await home.status(other) is Status.RUNNING


async def test_a_container_killed_for_memory_says_so(home: House) -> None:
    ident = await home.run("oom")
    assert await home.wait(ident) == 137
    state = (await home.view(ident)).state
    assert state.oom_killed and state.error == ""
    assert home.actions(ident)[2:4] == ["oom", "die"]


async def test_a_vm_that_never_answers_is_given_up(tmp_path: Path) -> None:
    async with house(tmp_path, boot_timeout=0.3) as home:
        home.machine.faults = Faults(mute=True)
        ident = await home.create("true")
        with pytest.raises(VmFailed) as caught:
            await home.containers.start(T, ident)
        assert caught.value.reason == "boot-failed" and "console: fake console" in caught.value.message
        view = await home.view(ident)
        assert (
            view.state.status is Status.CREATED and view.state.exit_code == 128 and view.vm["reason"] == "boot-failed"
        )
        assert home.attributes(ident, "die")["reason"] == "boot-failed"
        nothing_runs(home)
        home.machine.faults = Faults()
        await home.containers.start(T, ident)
        assert await home.wait(ident) == 0


async def test_a_vm_that_dies_while_it_boots_is_not_waited_for(home: House) -> None:
    home.machine.faults = Faults(die_on={"configure", "container.create"})
    ident = await home.create("true")
    with pytest.raises(VmFailed):
        await asyncio.wait_for(home.containers.start(T, ident), 5)
    nothing_runs(home)


async def test_a_hypervisor_that_cannot_be_spawned_is_told_apart(home: House) -> None:
    home.machine.refuse = "no such option"
    ident = await home.create("true")
    with pytest.raises(VmFailed, match="no such option") as caught:
        await home.containers.start(T, ident)
    assert caught.value.reason == "hypervisor-failed"
    nothing_runs(home)


@pytest.mark.parametrize("op", ["configure", "container.create", "container.start"])
@pytest.mark.parametrize("fault", ["die_on", "silent", "drop_on", "errors", "garbage"])
async def test_a_guest_that_fails_at_any_step_fails_the_start(home: House, op: str, fault: str) -> None:
    value: dict[str, object] = {"errors": {op: ("internal", "no")}, "garbage": {op: b"\xff" * 100}}
    home.machine.faults = Faults(**{fault: value.get(fault, {op})})  # type: ignore[arg-type]
    ident = await home.create("true")
    with pytest.raises(HypercellError):
        await asyncio.wait_for(home.containers.start(T, ident), 10)
    assert await home.status(ident) is Status.CREATED and (await home.view(ident)).state.error
    nothing_runs(home)
    await home.containers.remove(T, ident)
    await home.settled()
    assert list(home.config.containers.iterdir()) == []


@pytest.mark.parametrize("verb", ["stop", "kill", "remove"])
@pytest.mark.parametrize("fault", ["silent", "errors", "drop_on"])
async def test_a_guest_that_does_not_kill_is_killed(home: House, verb: str, fault: str) -> None:
    op = "process.signal"
    value: dict[str, object] = {"errors": {op: ("internal", "no")}}
    ident = await home.run("stubborn")
    home.machine.guest(ident).faults = Faults(**{fault: value.get(fault, {op})})  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        if verb == "stop":
            await home.containers.stop(T, ident, timeout=0)
        elif verb == "kill":
            await home.containers.kill(T, ident)
        else:
            await home.containers.remove(T, ident, force=True)
            await home.settled()
    if verb != "remove":
        assert (await home.view(ident)).state.exit_code == 137
    await home.settled()
    nothing_runs(home)


async def test_a_guest_that_does_not_shut_down_is_killed(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    home.machine.guest(ident).faults = Faults(silent={"shutdown"}, errors={"shutdown": ("internal", "no")})
    await home.containers.stop(T, ident)
    async with asyncio.timeout(10):
        await home.settled()
    nothing_runs(home)


async def test_an_agent_that_is_lost_for_good_ends_its_container(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    guest = home.machine.guest(ident)
    guest.faults = Faults(mute=True)
    guest.drop()
    assert await home.wait(ident) == 255
    view = await home.view(ident)
    assert view.vm["reason"] == "agent-lost" and "does not answer" in view.state.error
    await home.settled()
    nothing_runs(home)


async def test_the_state_that_a_guest_makes_up_is_not_believed(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    guest = home.machine.guest(ident)
    lie = {"configured": True, "containers": [{"container": ident, "status": "running", "processes": [{"process": 7}]}]}
    carry_out = guest.carry_out
    guest.carry_out = lambda request: lie if request.op == "state" else carry_out(request)  # type: ignore[method-assign]
    guest.drop()
    assert await home.wait(ident) == 255
    assert (await home.view(ident)).vm["reason"] == "agent-lost"


async def test_a_restart_policy_covers_a_dead_vm(home: House) -> None:
    ident = await home.run("sleep", "infinity", restart=RestartPolicy("on-failure"))
    home.machine.crash(ident)
    await home.restarts(ident, 1)
    await home.until(ident, Status.RUNNING)


async def test_a_policy_goes_on_trying_when_the_vm_does_not_start(home: House) -> None:
    ident = await home.run("sleep", "infinity", restart=RestartPolicy("always"))
    home.machine.refuse = "no memory"
    home.machine.crash(ident)
    await home.restarts(ident, 2)
    assert await home.status(ident) is Status.RESTARTING
    home.machine.refuse = ""
    await home.until(ident, Status.RUNNING)


class TestDisk:
    async def test_the_reserve_is_kept(self, home: House, monkeypatch: pytest.MonkeyPatch) -> None:
        ident = await home.create("true")
        monkeypatch.setattr(home.node.services.storage.blanks, "_reserve", 1 << 60)
        with pytest.raises(NoSpace, match="kept in reserve") as caught:
            await home.create("true")
        assert caught.value.hint
        with pytest.raises(NoSpace):
            await home.containers.start(T, ident)
        assert len(list(home.config.containers.iterdir())) == len(home.network.ports) == 1
        nothing_runs(home)

    async def test_a_disk_that_fills_up_leaves_no_container(self, home: House, monkeypatch: pytest.MonkeyPatch) -> None:
        await home.create("true")  # the blank image is made

        def full(*args: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(storage_module.os, "pwrite", full)
        with pytest.raises(NoSpace):
            await home.create("true")
        monkeypatch.undo()
        assert len(await home.containers.list(T, all=True)) == 1
        assert len(list(home.config.containers.iterdir())) == len(home.network.ports) == 1

    async def test_a_full_disk_holds_the_output_and_loses_none(
        self, home: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original, full = log_module.os.pwrite, True

        def pwrite(file: int, data: bytes, offset: int) -> int:
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return original(file, data, offset)

        ident = await home.create("sh", "-c", "echo one; echo two")
        monkeypatch.setattr(log_module.os, "pwrite", pwrite)
        await home.containers.start(T, ident)
        await asyncio.sleep(0.05)
        assert await home.output(ident) == b""
        full = False
        assert await home.wait(ident) == 0
        assert await home.output(ident) == b"one\ntwo\n"

    async def test_a_missing_mkfs_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        async with house(tmp_path) as home:
            with pytest.raises(Internal, match="e2fsprogs"):
                await home.create("true")
            assert list(home.config.containers.iterdir()) == [] and home.network.ports == {}

    async def test_the_writable_layer_is_sparse_sound_and_private(self, home: House) -> None:
        ident = await home.create("true")
        disk = home.config.containers / ident / "rw.img"
        status = disk.stat()
        assert status.st_size == home.config.rootfs_size and status.st_blocks * 512 < 4 * 1024**2
        assert status.st_mode & 0o777 == 0o600 and disk.parent.stat().st_mode & 0o777 == 0o700
        check = await asyncio.create_subprocess_exec("e2fsck", "-fn", str(disk), stdout=-3, stderr=-3)
        assert await check.wait() == 0
        view = await home.containers.inspect(T, ident, size=True)
        assert view.size_rw == 0 and view.size_root == 4096


async def test_the_network_that_refuses_leaves_no_container(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*args: object) -> None:
        raise NoSpace("the subnet is full")

    monkeypatch.setattr(home.network, "allocate", full)
    with pytest.raises(NoSpace, match="subnet"):
        await home.create("true")
    assert list(home.config.containers.iterdir()) == [] and await home.containers.list(T, all=True) == []


async def test_a_database_that_is_full_refuses_a_start_and_tells_an_end(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, created = await home.run("sleep", "infinity"), await home.create("true")

    async def full(record: object) -> None:
        raise NoSpace("the disk of the database is full")

    await asyncio.sleep(0.05)
    monkeypatch.setattr(home.node.services.records, "save", full)
    with pytest.raises(NoSpace):
        await home.containers.start(T, created)
    home.machine.guest(running).containers[running].init.exit(4)
    assert await home.wait(running) == 4
    monkeypatch.undo()
    assert await home.status(created) is Status.CREATED


async def test_what_cannot_be_cleaned_up_is_swept_by_the_next_daemon(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident = await home.create("true")

    async def broken(*container_ids: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(home.node.services.storage, "remove", broken)
    await home.containers.remove(T, ident)
    await home.settled()
    assert [path.name for path in home.config.containers.iterdir()] == [ident]
    monkeypatch.undo()
    await home.reopen()
    assert list(home.config.containers.iterdir()) == []


async def test_a_caller_that_goes_away_leaves_no_half_started_container(home: House) -> None:
    home.machine.faults = Faults(boot_delay=0.1)
    ident = await home.create("sleep", "infinity")
    starting = asyncio.ensure_future(home.containers.start(T, ident))
    await asyncio.sleep(0.02)
    starting.cancel()
    await eventually(lambda: home._is(ident, Status.RUNNING))
