# SPDX-License-Identifier: Apache-2.0
"""What every container promises, whatever VM it runs in."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hypercell.base.errors import Conflict, ExecFailed, NotFound, NotModified
from hypercell.cloud.contract import RestartPolicy, Status
from hypercell.node.network import PublishedPort
from tests.support.house import House, T, read


async def test_a_container_runs_to_its_end(home: House) -> None:
    ident = await home.create("echo", "hello")
    assert await home.status(ident) is Status.CREATED
    await home.containers.start(T, ident)
    assert await home.wait(ident) == 0
    assert await home.output(ident) == b"hello\n"
    view = await home.view(ident)
    assert view.state.status is Status.EXITED and view.state.exit_code == 0 and view.state.error == ""
    assert view.state.finished_ns >= view.state.started_ns > 0
    assert set(view.vm["trace"]) >= {"database", "image", "network", "hypervisor", "boot", "configure", "container"}
    assert home.actions(ident) == ["create", "start", "die"]


async def test_an_exit_code_is_the_programs(home: House) -> None:
    assert await home.wait(await home.run("sh", "-c", "exit 42")) == 42


async def test_no_vm_is_left_when_a_container_has_ended(home: House) -> None:
    ident = await home.run("true")
    await home.wait(ident)
    await home.settled()
    assert home.machine.vms == {}


async def test_a_container_can_be_started_again_over_the_same_disk(home: House) -> None:
    ident = await home.run("echo", "x")
    await home.wait(ident)
    await home.settled()
    first = dict(home.machine.disks[ident])
    await home.containers.start(T, ident)
    await home.wait(ident, "not-running")
    assert home.machine.disks[ident] == first
    assert await home.output(ident) == b"x\nx\n"


async def test_stop_asks_first_and_kills_after_the_timeout(home: House) -> None:
    polite, stubborn = await home.run("sleep", "infinity"), await home.run("stubborn")
    await home.containers.stop(T, polite, timeout=10)
    await home.containers.stop(T, stubborn, timeout=0)
    assert (await home.view(polite)).state.exit_code == 128 + 15
    assert (await home.view(stubborn)).state.exit_code == 128 + 9
    assert home.actions(polite) == ["create", "start", "kill", "die", "stop"]
    with pytest.raises(NotModified):
        await home.containers.stop(T, polite)


async def test_stop_sends_the_signal_that_was_chosen(home: House) -> None:
    ident = await home.run("sleep", "infinity", stop_signal="INT")
    await home.containers.stop(T, ident)
    assert (await home.view(ident)).state.exit_code == 128 + 2


async def test_kill_sends_any_signal(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    await home.containers.kill(T, ident, "USR1")
    assert await home.wait(ident) == 128 + 10
    with pytest.raises(Conflict, match="is not running"):
        await home.containers.kill(T, ident)


async def test_a_running_container_cannot_be_started_or_removed(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    with pytest.raises(NotModified):
        await home.containers.start(T, ident)
    with pytest.raises(Conflict, match="container is running: stop the container before removing or force remove"):
        await home.containers.remove(T, ident)
    assert await home.status(ident) is Status.RUNNING


async def test_a_forced_removal_leaves_nothing(home: House) -> None:
    ident = await home.run("sleep", "infinity", published=(PublishedPort(80, "tcp", "", 8080),))
    waiting = asyncio.ensure_future(home.wait(ident, "removed"))
    await asyncio.sleep(0)
    await home.containers.remove(T, ident, force=True)
    assert await waiting == 137
    assert home.machine.vms == {} and home.network.ports == {}
    assert list(home.config.containers.iterdir()) == []
    with pytest.raises(NotFound):
        await home.view(ident)
    assert home.actions(ident)[-2:] == ["die", "destroy"]


async def test_an_auto_removed_container_is_gone_with_its_end(home: House) -> None:
    ident = await home.create("sh", "-c", "exit 3", auto_remove=True)
    waiting = asyncio.ensure_future(home.wait(ident, "removed"))
    await asyncio.sleep(0)
    await home.containers.start(T, ident)
    assert await waiting == 3
    assert list(home.config.containers.iterdir()) == [] and home.network.ports == {} and home.machine.vms == {}


async def test_restart_keeps_an_auto_removed_container(home: House) -> None:
    ident = await home.run("sleep", "infinity", auto_remove=True)
    await home.containers.restart(T, ident)
    assert await home.status(ident) is Status.RUNNING
    assert home.actions(ident)[-3:] == ["die", "start", "restart"]


async def test_a_paused_container_stands_still(home: House) -> None:
    ident = await home.run("sh", "-c", "sleep 0.2; echo done")
    await home.containers.pause(T, ident)
    assert await home.status(ident) is Status.PAUSED
    await asyncio.sleep(0.4)
    assert await home.output(ident) == b""
    with pytest.raises(Conflict, match="paused"):
        await home.containers.remove(T, ident)
    await home.containers.unpause(T, ident)
    assert await home.wait(ident) == 0
    assert await home.output(ident) == b"done\n"


async def test_a_paused_container_can_be_stopped(home: House) -> None:
    ident = await home.run("sleep", "infinity")
    await home.containers.pause(T, ident)
    await home.containers.stop(T, ident)
    assert await home.status(ident) is Status.EXITED


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("nothere", 127, "executable file not found in $PATH"),
        ("/bin/nothere", 127, "no such file or directory"),
        ("denied", 126, "permission denied"),
    ],
)
async def test_a_program_that_cannot_run_says_why(home: House, program: str, code: int, words: str) -> None:
    ident = await home.create(program)
    with pytest.raises(ExecFailed) as caught:
        await home.containers.start(T, ident)
    assert caught.value.exit_code == code and words in caught.value.message and program in caught.value.message
    view = await home.view(ident)
    assert view.state.status is Status.CREATED and view.state.exit_code == code and words in view.state.error
    assert home.machine.vms == {}


async def test_wait_tells_ready_before_anything_can_be_missed(home: House) -> None:
    ident = await home.create("true")
    ready = asyncio.Event()
    waiting = asyncio.ensure_future(home.containers.wait(T, ident, "next-exit", ready.set))
    await ready.wait()
    await home.containers.start(T, ident)
    assert (await waiting)[0] == 0
    assert await home.containers.wait(T, ident) == (0, "")


async def test_the_environment_is_dockers(home: House) -> None:
    ident = await home.run("env", env=("A=1", "PATH=/bin"), hostname="box")
    await home.wait(ident)
    assert (await home.output(ident)).decode().splitlines()[:3] == ["PATH=/bin", "HOSTNAME=box", "A=1"]


async def test_a_terminal_has_the_size_it_was_given_before_the_start(home: House) -> None:
    ident = await home.create("stty", tty=True)
    await home.containers.resize(T, ident, 33, 111)
    await home.containers.start(T, ident)
    await home.wait(ident)
    assert await home.output(ident) == b"33 111\r\n"


async def test_a_published_port_is_known_while_it_runs(home: House) -> None:
    ident = await home.run("sleep", "infinity", published=(PublishedPort(80, "tcp", "", 0),))
    (port,) = (await home.view(ident)).port.published
    assert port.host_port > 0
    await home.containers.stop(T, ident)
    await home.settled()
    assert (await home.view(ident)).port.published == ()
    assert home.network.ports[ident].published == ()


async def test_a_port_that_is_taken_stops_the_start(home: House) -> None:
    published = (PublishedPort(80, "tcp", "", 8080),)
    await home.run("sleep", "infinity", published=published)
    ident = await home.create("sleep", "infinity", published=published)
    with pytest.raises(Conflict, match="port is already allocated"):
        await home.containers.start(T, ident)
    assert len(home.machine.running()) == 1
    assert await home.status(ident) is Status.CREATED


class TestRestartPolicy:
    async def test_always_starts_it_again(self, home: House) -> None:
        ident = await home.run("sh", "-c", "exit 1", restart=RestartPolicy("always"))
        await home.restarts(ident, 2)
        await home.containers.stop(T, ident)
        assert await home.status(ident) is Status.EXITED

    async def test_on_failure_gives_up_after_its_count(self, home: House) -> None:
        ident = await home.run("sh", "-c", "exit 7", restart=RestartPolicy("on-failure", 2))
        await home.until(ident, Status.EXITED)
        await home.restarts(ident, 2)
        await home.until(ident, Status.EXITED)
        view = await home.view(ident)
        assert view.state.status is Status.EXITED and view.state.exit_code == 7

    async def test_on_failure_is_content_with_success(self, home: House) -> None:
        ident = await home.run("true", restart=RestartPolicy("on-failure"))
        await home.wait(ident)
        assert (await home.view(ident)).state.restart_count == 0 and await home.status(ident) is Status.EXITED

    @pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
    async def test_who_stops_it_wants_it_stopped(self, home: House, policy: str) -> None:
        ident = await home.run("sleep", "infinity", restart=RestartPolicy(policy))
        await home.containers.stop(T, ident)
        await home.settled()
        assert await home.status(ident) is Status.EXITED

    async def test_stop_calls_a_planned_restart_off(self, home: House) -> None:
        ident = await home.run("false", restart=RestartPolicy("always"))
        await home.until(ident, Status.RESTARTING)
        assert ident in [view.id for view in await home.containers.list(T)]
        await home.containers.stop(T, ident)
        assert await home.status(ident) is Status.EXITED


async def test_list_is_newest_first_and_of_the_running(home: House) -> None:
    first, second = await home.create("true"), await home.run("sleep", "infinity")
    assert [view.id for view in await home.containers.list(T)] == [second]
    assert [view.id for view in await home.containers.list(T, all=True)] == [second, first]


async def test_attached_before_the_start_nothing_is_missed(home: House) -> None:
    ident = await home.create("sh", "-c", "echo out; echo err >&2")
    attachment = await home.containers.attach(T, ident, False, True, True)
    await home.containers.start(T, ident)
    assert sorted((await read(attachment.output())).splitlines()) == [b"err", b"out"]


async def test_the_specs_that_are_kept_are_those_that_were_made(home: House) -> None:
    ident = await home.create("sh", "-c", "x", env=("A=ü",), tmpfs={"/x": "size=1m"}, restart=RestartPolicy("always"))
    before = await home.view(ident)
    await home.reopen()
    after = await home.view(ident)
    assert replace(after, vm={}) == replace(before, vm={})
