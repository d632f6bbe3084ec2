# SPDX-License-Identifier: Apache-2.0
"""What every container promises, whatever VM it runs in."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from hypercell.agent.fake import process
from hypercell.agent.fake.members import GuestError
from hypercell.base.errors import Conflict, ExecFailed, NotFound, NotModified
from hypercell.cloud.contract import RestartPolicy, Status
from hypercell.node.network import PublishedPort
from tests.support.house import House, Resident, T, read
from tests.support.real_house import real_house


async def test_a_container_runs_to_its_end(any_home: Resident) -> None:
    ident = await any_home.create("echo", "hello")
    assert await any_home.status(ident) is Status.CREATED
    await any_home.containers.start(T, ident)
    assert await any_home.wait(ident) == 0
    assert await any_home.output(ident) == b"hello\n"
    view = await any_home.view(ident)
    assert view.state.status is Status.EXITED and view.state.exit_code == 0 and view.state.error == ""
    assert view.state.finished_ns >= view.state.started_ns > 0
    assert any_home.actions(ident) == ["create", "start", "die"]


async def test_an_exit_code_is_the_programs(any_home: Resident) -> None:
    assert await any_home.wait(await any_home.run("sh", "-c", "exit 42")) == 42


async def test_no_vm_is_left_when_a_container_has_ended(any_home: Resident) -> None:
    ident = await any_home.run("true")
    await any_home.wait(ident)
    await any_home.settled()
    assert ident not in await any_home.vms()


async def test_a_container_can_be_started_again(any_home: Resident) -> None:
    ident = await any_home.run("echo", "x")
    await any_home.wait(ident)
    await any_home.containers.start(T, ident)
    await any_home.wait(ident)
    assert await any_home.output(ident) == b"x\nx\n"


@pytest.mark.vm
@pytest.mark.root
async def test_a_container_that_is_stopped_keeps_what_it_wrote(tmp_path: Path) -> None:
    async with real_house(tmp_path) as home:
        ident = await home.run("sh", "-c", "echo more >> /kept; cat /kept; sleep 1000")
        await home.writes(ident, b"more\n")
        await home.containers.stop(T, ident, 0)
        await home.containers.start(T, ident)
        await home.writes(ident, b"more\n" * 3)
        await home.containers.restart(T, ident, 0)
        await home.writes(ident, b"more\n" * 6)


async def test_stop_asks_first_and_kills_after_the_timeout(any_home: Resident) -> None:
    polite, stubborn = await any_home.run_polite(), await any_home.run(*any_home.stubborn)
    await any_home.containers.stop(T, polite, timeout=10)
    await any_home.containers.stop(T, stubborn, timeout=0)
    assert (await any_home.view(polite)).state.exit_code == 128 + 15
    assert (await any_home.view(stubborn)).state.exit_code == 128 + 9
    assert any_home.actions(polite) == ["create", "start", "kill", "die", "stop"]
    with pytest.raises(NotModified):
        await any_home.containers.stop(T, polite)


async def test_stop_sends_the_signal_that_was_chosen(any_home: Resident) -> None:
    ident = await any_home.run_polite(stop_signal="INT")
    await any_home.containers.stop(T, ident)
    assert (await any_home.view(ident)).state.exit_code == 128 + 2


async def test_kill_sends_any_signal(any_home: Resident) -> None:
    ident = await any_home.run_polite()
    await any_home.containers.kill(T, ident, "USR1")
    assert await any_home.wait(ident) == 128 + 10
    with pytest.raises(Conflict, match="is not running"):
        await any_home.containers.kill(T, ident)


async def test_a_running_container_cannot_be_started_or_removed(any_home: Resident) -> None:
    ident = await any_home.run_polite()
    with pytest.raises(NotModified):
        await any_home.containers.start(T, ident)
    with pytest.raises(Conflict, match="container is running: stop the container before removing or force remove"):
        await any_home.containers.remove(T, ident)
    assert await any_home.status(ident) is Status.RUNNING


async def test_a_forced_removal_leaves_nothing(any_home: Resident) -> None:
    ident = await any_home.run_polite(published=(PublishedPort(80, "tcp", "", 8080),))
    waiting = asyncio.ensure_future(any_home.wait(ident, "removed"))
    await asyncio.sleep(0)
    await any_home.containers.remove(T, ident, force=True)
    assert await waiting == 137
    assert await any_home.leftovers() == []
    with pytest.raises(NotFound):
        await any_home.view(ident)
    assert any_home.actions(ident)[-2:] == ["die", "destroy"]


async def test_an_auto_removed_container_is_gone_with_its_end(any_home: Resident) -> None:
    ident = await any_home.create("sh", "-c", "exit 3", auto_remove=True)
    waiting = asyncio.ensure_future(any_home.wait(ident, "removed"))
    await asyncio.sleep(0)
    await any_home.containers.start(T, ident)
    assert await waiting == 3
    assert await any_home.leftovers() == []


async def test_restart_keeps_an_auto_removed_container(any_home: Resident) -> None:
    ident = await any_home.run_polite(auto_remove=True)
    await any_home.containers.restart(T, ident)
    assert await any_home.status(ident) is Status.RUNNING
    assert any_home.actions(ident)[-3:] == ["die", "start", "restart"]


async def test_a_paused_container_stands_still(any_home: Resident) -> None:
    ident = await any_home.run("sh", "-c", "sleep 0.2; echo done")
    await any_home.containers.pause(T, ident)
    assert await any_home.status(ident) is Status.PAUSED
    await asyncio.sleep(0.4)
    assert await any_home.output(ident) == b""
    with pytest.raises(Conflict, match="paused"):
        await any_home.containers.remove(T, ident)
    await any_home.containers.unpause(T, ident)
    assert await any_home.wait(ident) == 0
    assert await any_home.output(ident) == b"done\n"


async def test_a_paused_container_can_be_stopped(any_home: Resident) -> None:
    ident = await any_home.run_polite()
    await any_home.containers.pause(T, ident)
    await any_home.containers.stop(T, ident)
    assert await any_home.status(ident) is Status.EXITED


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("nothere", 127, "executable file not found in $PATH"),
        ("/bin/nothere", 127, "no such file or directory"),
        ("", 126, "permission denied"),
    ],
)
async def test_a_program_that_cannot_run_says_why(any_home: Resident, program: str, code: int, words: str) -> None:
    program = program or any_home.denied
    ident = await any_home.create(program)
    with pytest.raises(ExecFailed) as caught:
        await any_home.containers.start(T, ident)
    assert caught.value.exit_code == code and words in caught.value.message and program in caught.value.message
    view = await any_home.view(ident)
    assert view.state.status is Status.CREATED and view.state.exit_code == code and words in view.state.error
    assert ident not in await any_home.vms()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (GuestError("exec-not-found", 'chdir to cwd ("/etc/motd/x") failed: Not a directory'), 127, "not a directory"),
        (GuestError("exec-denied", 'chdir to cwd ("/root") failed: Permission denied'), 126, "permission denied"),
    ],
)
async def test_a_working_directory_that_cannot_be_entered_is_not_blamed_on_the_program(
    home: House, monkeypatch: pytest.MonkeyPatch, error: GuestError, code: int, words: str
) -> None:
    ident = await home.create("true")
    monkeypatch.setattr(process, "find_program", Mock(side_effect=error))
    with pytest.raises(ExecFailed) as caught:
        await home.containers.start(T, ident)
    assert caught.value.exit_code == code and words in caught.value.message
    assert caught.value.message.startswith('unable to start container process: chdir to cwd ("/')
    assert "working directory" in caught.value.hint
    assert "program" not in caught.value.hint and "PATH" not in str(caught.value)
    assert (await home.view(ident)).state.exit_code == code


async def test_wait_tells_ready_before_anything_can_be_missed(any_home: Resident) -> None:
    ident = await any_home.create("true")
    ready = asyncio.Event()
    waiting = asyncio.ensure_future(any_home.containers.wait(T, ident, "next-exit", ready.set))
    await ready.wait()
    await any_home.containers.start(T, ident)
    assert (await waiting)[0] == 0
    assert await any_home.containers.wait(T, ident) == (0, "")


async def test_the_environment_is_dockers(any_home: Resident) -> None:
    ident = await any_home.run("env", env=("A=1", "PATH=/bin"), hostname="box")
    await any_home.wait(ident)
    assert (await any_home.output(ident)).decode().splitlines()[:3] == ["PATH=/bin", "HOSTNAME=box", "A=1"]


async def test_a_terminal_has_the_size_it_was_given_before_the_start(any_home: Resident) -> None:
    ident = await any_home.create("stty", "size", tty=True)
    await any_home.containers.resize(T, ident, 33, 111)
    await any_home.containers.start(T, ident)
    await any_home.wait(ident)
    assert await any_home.output(ident) == b"33 111\r\n"


async def test_a_published_port_is_known_while_it_runs(any_home: Resident) -> None:
    ident = await any_home.run_polite(published=(PublishedPort(80, "tcp", "", 0),))
    (port,) = (await any_home.view(ident)).port.published
    assert port.host_port > 0
    await any_home.containers.stop(T, ident)
    await any_home.settled()
    assert (await any_home.view(ident)).port.published == ()


async def test_a_port_that_is_taken_stops_the_start(any_home: Resident) -> None:
    published = (PublishedPort(80, "tcp", "", 8080),)
    await any_home.run_polite(published=published)
    ident = await any_home.create("sleep", "infinity", published=published)
    with pytest.raises(Conflict, match="port is already allocated"):
        await any_home.containers.start(T, ident)
    assert any_home.node.get(ident).pod.id not in await any_home.vms()
    assert await any_home.status(ident) is Status.CREATED


class TestRestartPolicy:
    async def test_always_starts_it_again(self, any_home: Resident) -> None:
        ident = await any_home.run("sh", "-c", "exit 1", restart=RestartPolicy("always"))
        await any_home.restarts(ident, 2)
        await any_home.containers.stop(T, ident)
        assert await any_home.status(ident) is Status.EXITED

    async def test_on_failure_gives_up_after_its_count(self, any_home: Resident) -> None:
        ident = await any_home.run("sh", "-c", "exit 7", restart=RestartPolicy("on-failure", 2))
        await any_home.until(ident, Status.EXITED)
        await any_home.restarts(ident, 2)
        await any_home.until(ident, Status.EXITED)
        view = await any_home.view(ident)
        assert view.state.status is Status.EXITED and view.state.exit_code == 7

    async def test_on_failure_is_content_with_success(self, any_home: Resident) -> None:
        ident = await any_home.run("true", restart=RestartPolicy("on-failure"))
        await any_home.wait(ident)
        assert (await any_home.view(ident)).state.restart_count == 0 and await any_home.status(ident) is Status.EXITED

    @pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
    async def test_who_stops_it_wants_it_stopped(self, any_home: Resident, policy: str) -> None:
        ident = await any_home.run_polite(restart=RestartPolicy(policy))
        await any_home.containers.stop(T, ident)
        await any_home.settled()
        assert await any_home.status(ident) is Status.EXITED

    async def test_stop_calls_a_planned_restart_off(self, any_home: Resident) -> None:
        ident = await any_home.run("false", restart=RestartPolicy("always"))
        await any_home.until(ident, Status.RESTARTING)
        assert ident in [view.id for view in await any_home.containers.list(T)]
        await any_home.containers.stop(T, ident)
        assert await any_home.status(ident) is Status.EXITED


async def test_list_is_newest_first_and_of_the_running(any_home: Resident) -> None:
    first, second = await any_home.create("true"), await any_home.run_polite()
    assert [view.id for view in await any_home.containers.list(T)] == [second]
    assert [view.id for view in await any_home.containers.list(T, all=True)] == [second, first]


async def test_attached_before_the_start_nothing_is_missed(any_home: Resident) -> None:
    ident = await any_home.create("sh", "-c", "echo out; echo err >&2")
    attachment = await any_home.containers.attach(T, ident, False, True, True)
    await any_home.containers.start(T, ident)
    assert sorted((await read(attachment.output())).splitlines()) == [b"err", b"out"]


async def test_the_specs_that_are_kept_are_those_that_were_made(any_home: Resident) -> None:
    always = RestartPolicy("always")
    ident = await any_home.create("sh", "-c", "x", env=("A=ü",), tmpfs={"/x": "size=1m"}, restart=always)
    before = await any_home.view(ident)
    await any_home.reopen()
    after = await any_home.view(ident)
    assert replace(after, vm={}) == replace(before, vm={})
