# SPDX-License-Identifier: Apache-2.0
"""`kill -9` of the daemon at every step: its successor loses nothing and leaves nothing.

The daemon is a process of its own; the guests live in the test's, and go on.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from hypercell.agent.fake import Faults
from hypercell.base.errors import HypercellError, NotFound
from hypercell.cloud.contract import ContainerView, RestartPolicy, Status
from tests.support.house import House, T, eventually

REPOSITORY = Path(__file__).resolve().parents[2]

CREATE = ["create-begin", "storage-directory", "create-prepared", "create-recorded"]
START = ["start-begin", "start-recorded", "tap-open", "vm-launched", "container-created", "container-started"]
END = ["log-write", "exit-seen", "exit-recorded", "vm-discard", "vm-ended"]
VISIT = ["visit-booted", "visit-over"]
REMOVE = ["remove-begin", "record-deleted", "remove-vm", "remove-port", "remove-directory", "removed"]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    built = House(tmp_path)
    await built.machine.start()
    yield built
    await built.close()
    await built.machine.close()


async def killed_at(home: House, point: str, *verb: str, count: int = 1) -> None:
    """Run a daemon until it dies there."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.killable", str(home.directory), point, str(count), *verb),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == -signal.SIGKILL, f"it never came to {point}: {said.decode()}"


async def survivor(home: House) -> ContainerView | None:
    try:
        return await home.view("it")
    except NotFound:
        return None


async def all_gone(home: House) -> bool:
    return await survivor(home) is None and not home.network.ports and not list(home.config.containers.iterdir())


def nothing_is_left_of_others(home: House, *containers: str) -> None:
    assert {path.name for path in home.config.containers.iterdir()} == set(containers)
    assert set(home.network.ports) == set(containers)
    assert set(home.machine.vms) <= set(containers)


@pytest.mark.parametrize("point", CREATE[:3])
async def test_a_container_half_made_is_none(home: House, point: str) -> None:
    await killed_at(home, point, "run", "", "true")
    await home.open()
    assert await home.containers.list(T, all=True) == []
    nothing_is_left_of_others(home)


@pytest.mark.parametrize("point", [CREATE[3], *START])
async def test_a_start_half_done_can_be_done_again(home: House, point: str) -> None:
    await killed_at(home, point, "run", "", "sh", "-c", "echo up; sleep infinity")
    await home.open()
    view = await survivor(home)
    assert view is not None
    nothing_is_left_of_others(home, view.id)
    if view.state.status is not Status.RUNNING:
        assert home.machine.vms == {}, "undone, but its VM is still there"
        await home.containers.start(T, "it")
    await home.writes(view.id, b"up\n")
    assert await home.status(view.id) is Status.RUNNING
    await home.containers.remove(T, "it", force=True)
    await home.settled()
    nothing_is_left_of_others(home)


@pytest.mark.parametrize("point", VISIT)
@pytest.mark.parametrize("before", ["created", "ended"])
async def test_a_throw_away_guest_goes_and_its_container_stays_as_it_was(home: House, point: str, before: str) -> None:
    await killed_at(home, point, "export", before)
    assert home.machine.vms, "the guest is still there"
    await home.open()
    view = await survivor(home)
    assert view is not None
    assert view.state.status is (Status.CREATED if before == "created" else Status.EXITED)
    assert home.machine.vms == {}
    nothing_is_left_of_others(home, view.id)
    await home.containers.start(T, "it")
    assert await home.wait("it") == 0


@pytest.mark.parametrize("point", START[1:])
async def test_a_start_half_done_is_finished_if_the_policy_wants_it_to_run(home: House, point: str) -> None:
    await killed_at(home, point, "run", "always", "sh", "-c", "echo up; sleep infinity")
    await home.open()
    await home.until("it", Status.RUNNING)
    await home.writes("it", b"up\n")


@pytest.mark.parametrize("point", END)
async def test_an_end_is_told_with_its_exit_code_and_every_line_once(home: House, point: str) -> None:
    await killed_at(home, point, "run", "", "sh", "-c", "echo one; sleep 0.1; echo two; exit 42")
    await asyncio.sleep(0.15)
    await home.open()
    async with asyncio.timeout(10):
        assert await home.wait("it") == 42
    view = await survivor(home)
    assert view is not None
    await home.settled()
    assert await home.output("it") == b"one\ntwo\n"
    assert home.machine.vms == {}
    nothing_is_left_of_others(home, view.id)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("kind", "point"),
    [
        *(("few", point) for point in ("log-rotate", "log-write", "log-rotated-away")),
        *(("packed", point) for point in ("log-packed", "log-pack-named")),
    ],
)
async def test_a_rotation_half_done_loses_and_doubles_no_line(home: House, kind: str, point: str, count: int) -> None:
    lines = [f"line-{number}" for number in range(6)]
    words = "; sleep 0.05; ".join(f"echo {line}" for line in lines)
    await killed_at(home, point, "run", kind, "sh", "-c", f"{words}; sleep infinity", count=count)
    await home.open()
    await home.until("it", Status.RUNNING)

    async def complete() -> bool:
        return (await home.output("it")).endswith(b"line-5\n")

    await eventually(complete)
    kept = (await home.output("it")).decode().split()
    assert len(kept) >= 3 and kept == lines[-len(kept) :]
    ident = (await home.view("it")).id
    assert len(list((home.config.containers / ident / "log").glob("*.log*"))) <= 3


@pytest.mark.parametrize("point", ["log-write", "log-forget", "log-forgotten"])
async def test_a_log_that_is_not_kept_still_knows_what_clients_have_had(home: House, point: str) -> None:
    script = "echo one; sleep 0.05; echo two; sleep 0.05; cat"
    await killed_at(home, point, "run", "none", "sh", "-c", script)
    await home.open()
    await home.until("it", Status.RUNNING)
    container = home.node.get((await home.view("it")).id)

    async def complete() -> bool:
        return container.log.positions(container.record.run)[0] == len("one\ntwo\n")

    await eventually(complete)


@pytest.mark.parametrize("point", ["exit-seen", "vm-discard", *REMOVE])
async def test_an_auto_removed_container_goes_all_the_same(home: House, point: str) -> None:
    await killed_at(home, point, "run", "rm", "sh", "-c", "exit 1")
    await home.open()
    await eventually(partial(all_gone, home))
    nothing_is_left_of_others(home)


@pytest.mark.parametrize("point", ["exit-seen", "exit-recorded", "vm-discard", *REMOVE])
async def test_a_removal_half_done_is_finished_or_can_be_repeated(home: House, point: str) -> None:
    await home.open()
    ident = await home.run("sleep", "infinity", name="it")
    await home.close()
    await killed_at(home, point, "rm", "it")
    await home.open()
    view = await survivor(home)
    if view is not None:
        assert view.id == ident
        await home.containers.remove(T, "it", force=True)
        await home.settled()
    nothing_is_left_of_others(home)


@pytest.mark.parametrize("point", REMOVE)
async def test_a_removal_of_what_does_not_run_is_finished_or_can_be_repeated(home: House, point: str) -> None:
    await home.open()
    await home.wait(await home.run("true", name="it"))
    await home.close()
    await killed_at(home, point, "rm", "it")
    await home.open()
    if await survivor(home) is not None:
        await home.containers.remove(T, "it")
        await home.settled()
    nothing_is_left_of_others(home)


@pytest.mark.parametrize("point", ["record-deleted", "vm-discard", *REMOVE[2:]])
@pytest.mark.parametrize("count", [1, 4])
async def test_of_many_removals_half_done_none_leaves_anything(home: House, point: str, count: int) -> None:
    await home.open()
    kept = await home.run("sleep", "infinity", name="kept")
    for number in range(6):
        await home.run("sleep", "infinity", name=f"n{number}x")
    await home.close()
    once = 1 if point in ("remove-port", "remove-directory", "removed") else count  # there may be one batch only
    await killed_at(home, point, "rm", *(f"n{number}x" for number in range(6)), count=once)
    await home.open()
    for view in await home.containers.list(T, all=True):
        if view.id != kept:
            await home.containers.remove(T, view.id, force=True)
    await home.settled()
    nothing_is_left_of_others(home, kept)
    assert home.machine.running() == [kept] and await home.status(kept) is Status.RUNNING


@pytest.mark.parametrize("point", ["exit-seen", "exit-recorded", "vm-discard", "vm-ended"])
async def test_a_stop_half_done_has_stopped_it(home: House, point: str) -> None:
    await home.open()
    await home.run("sleep", "infinity", name="it")
    await home.close()
    await killed_at(home, point, "stop", "it")
    await home.open()
    await home.wait("it")
    assert (await home.view("it")).state.exit_code in (137, 143)
    await home.settled()
    assert home.machine.vms == {}


@pytest.mark.parametrize("point", ["recover:log-write", "recover:exit-seen", "recover:exit-recorded"])
async def test_a_recovery_that_is_killed_is_recovered_from(home: House, point: str) -> None:
    await home.open()
    ident = await home.run("sh", "-c", "echo one; sleep 0.1; echo two; exit 7", name="it")
    await home.close()
    await asyncio.sleep(0.15)
    await killed_at(home, point, "nothing")
    await home.open()
    assert await home.wait(ident) == 7
    assert await home.output(ident) == b"one\ntwo\n"


async def test_a_flood_is_logged_to_the_byte_however_often_the_daemon_dies(home: House) -> None:
    await killed_at(home, "log-write", "run", "", "yes", "0123456789", count=3)
    for _ in range(3):
        await killed_at(home, "recover:log-write", "nothing", count=4)
    await home.open()
    await home.containers.kill(T, "it")
    written = await home.output("it")
    container = home.node.get((await home.view("it")).id)
    # Every record holds the guest's own count of bytes; the log holds as many, and they are what was said.
    assert container.log.positions(1) == (len(written), 0)
    assert written == (b"0123456789\n" * (len(written) // 11 + 1))[: len(written)]
    assert len(written) > 512 * 1024


async def test_what_belongs_to_nobody_is_swept(home: House) -> None:
    await home.open()
    ident = await home.run("sleep", "infinity")
    other = await home.run("sleep", "infinity")
    await home.close()
    await home.open()
    await home.db.run(lambda tx: tx.execute("DELETE FROM containers WHERE id = ?", (other,)) and None)
    await home.db.run(lambda tx: tx.execute("DELETE FROM pods WHERE id = ?", (other,)) and None)
    await home.close()
    (home.config.containers / "stray").mkdir()
    await home.open()
    nothing_is_left_of_others(home, ident)
    assert await home.status(ident) is Status.RUNNING


async def test_vms_that_died_with_the_machine_are_told(home: House) -> None:
    await home.open()
    lost = await home.run("sleep", "infinity")
    await home.close()
    home.machine.crash(lost)
    await home.open()
    view = await home.view(lost)
    assert view.state.status is Status.EXITED and view.state.exit_code == 255
    assert "the VM ended while the daemon was away" in view.state.error


async def test_a_guest_that_no_longer_answers_does_not_hold_up_the_others(home: House) -> None:
    await home.open()
    mute = await home.run("sleep", "infinity")
    well = await home.run("sleep", "infinity")
    await home.close()
    home.machine.guest(mute).faults = Faults(mute=True)
    await home.open()
    view = await home.view(mute)
    assert view.state.status is Status.EXITED and view.vm["reason"] == "agent-lost"
    assert await home.status(well) is Status.RUNNING
    assert home.machine.running() == [well]


async def test_the_daemon_can_come_and_go_while_containers_work(home: House) -> None:
    await home.open()
    ident = await home.run("cat", open_stdin=True)
    for word in (b"one\n", b"two\n", b"three\n"):
        attachment = await home.containers.attach(T, ident, True, True, True)
        await attachment.write(word)
        async with asyncio.timeout(10):
            async for _, data in attachment.output():
                assert data == word
                break
        await attachment.detach()
        await home.reopen()
    assert await home.output(ident) == b"one\ntwo\nthree\n"
    await home.containers.remove(T, ident, force=True)


async def test_always_comes_back_with_the_daemon_even_after_a_stop(home: House) -> None:
    await home.open()
    always = await home.run("sleep", "infinity", restart=RestartPolicy("always"))
    unless = await home.run("sleep", "infinity", restart=RestartPolicy("unless-stopped"))
    for ident in (always, unless):
        await home.containers.stop(T, ident)
    await home.settled()
    await home.reopen()
    await home.until(always, Status.RUNNING)
    assert await home.status(unless) is Status.EXITED


async def test_verbs_are_refused_while_the_daemon_ends(home: House) -> None:
    await home.open()
    ident = await home.create("true")
    containers = home.containers
    await home.close()
    with pytest.raises(HypercellError, match="shutting down"):
        await containers.start(T, ident)
