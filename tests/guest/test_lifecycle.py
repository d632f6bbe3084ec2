# SPDX-License-Identifier: Apache-2.0
"""Containers from creation to deletion, in a real VM."""

from __future__ import annotations

import signal
import time

import pytest

from hypercell.base.errors import Conflict, ExecFailed, InvalidArgument, NotFound, Unsupported
from tests.guest.conftest import Boot
from tests.guest.guest import Guest
from tests.guest.specifications import config

pytestmark = [pytest.mark.vm, pytest.mark.root]


async def test_a_container_says_what_it_does_and_how_it_ended(guest: Guest) -> None:
    ended = await guest.run("c", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ended.code, ended.stdout, ended.stderr) == (7, b"out\n", b"err\n")
    assert (ended.event["signal"], ended.event["oom"]) == (0, False)
    assert abs(ended.event["exited_ns"] - time.time_ns()) < 60e9
    assert (await guest.ask("state"))["containers"] == []


async def test_nothing_of_the_program_runs_before_the_start(guest: Guest) -> None:
    streams = await guest.create("c", config("sh", "-c", "echo begun"))
    assert (await guest.state("c"))["status"] == "created"
    assert (await guest.ask("container.processes", container="c"))["processes"][0]["pid"] == 1
    assert (await guest.state("c"))["stdout"]["end"] == 0
    pid = (await guest.ask("container.start", container="c"))["pid"]
    assert pid > 1
    assert await guest.read(streams.stdout) == b"begun\n"
    await guest.exit("c")


async def test_a_container_killed_by_a_signal_says_which(guest: Guest) -> None:
    streams = await guest.start("c", "sleep", "1000")
    with pytest.raises(Conflict, match="running"):
        await guest.ask("container.delete", container="c")
    await guest.ask("process.signal", container="c", process="init", signal=signal.SIGKILL)
    event = await guest.exit("c")
    assert (event["code"], event["signal"]) == (137, 9)
    assert await guest.read(streams.stdout) == b""
    with pytest.raises(Conflict, match="ended"):
        await guest.ask("process.signal", container="c", process="init", signal=15)
    await guest.ask("container.delete", container="c")


async def test_a_container_catches_the_signals_it_asked_for(guest: Guest) -> None:
    script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    streams = await guest.start("c", "sh", "-c", script)
    output = guest.agent.output(streams.stdout)
    assert await output.read() == b"ready\n"
    await guest.ask("process.signal", container="c", process="init", signal=signal.SIGTERM)
    assert (await guest.exit("c"))["code"] == 3
    assert await output.read() == b"caught\n"


async def test_a_container_that_is_stopped_keeps_what_it_wrote(
    boot: Boot, tmp_path_factory: pytest.TempPathFactory
) -> None:
    guest = await boot()
    assert (await guest.run("c", "sh", "-c", "echo kept >/srv/file; rm /srv/plain")).code == 0
    again = await guest.run("c", "sh", "-c", "cat /srv/file; ls /srv")
    assert again.stdout == b"kept\nfile\nscript\n"
    assert (await guest.run("other", "ls", "/srv")).stdout == b"plain\nscript\n"


async def test_a_container_keeps_what_it_wrote_over_a_shutdown_of_the_machine(boot: Boot, disk_copy: object) -> None:
    guest = await boot(disk=disk_copy)
    assert (await guest.run("c", "sh", "-c", "echo kept >/srv/file")).code == 0
    guest.vm.expect_shutdown()
    await guest.ask("shutdown", timeout_ms=1000)
    assert (await guest.vm.wait()).reason.value == "shutdown"
    after = await boot(disk=disk_copy)
    assert (await after.run("c", "cat", "/srv/file")).stdout == b"kept\n"


UNRUNNABLE = [
    (["nothing"], 127, 'exec: "nothing": executable file not found in $PATH'),
    (["/bin/nothing"], 127, 'exec: "/bin/nothing": stat /bin/nothing: no such file or directory'),
    (["/srv/script"], 127, "exec /srv/script: no such file or directory"),
    (["/srv/plain"], 126, 'exec: "/srv/plain": permission denied'),
    (["/srv"], 126, 'exec: "/srv": is a directory'),
]


async def test_a_program_that_cannot_run_fails_the_start(guest: Guest) -> None:
    await guest.start("other", "sleep", "1000")
    for args, code, message in UNRUNNABLE:
        await guest.create("c", config(*args))
        with pytest.raises(ExecFailed) as caught:
            await guest.ask("container.start", container="c")
        assert caught.value.exit_code == code
        assert message in str(caught.value)
        assert (await guest.state("c"))["code"] == code
        await guest.ask("container.delete", container="c")
        with pytest.raises(ExecFailed) as caught:
            await guest.execute("other", *args)
        assert caught.value.exit_code == code
    containers = (await guest.ask("state"))["containers"]
    assert [[entry["process"] for entry in found["processes"]] for found in containers] == [["init"]]
    assert [event for event in guest.events if event["event"] == "process.exited"] == []


async def test_what_cannot_be_made_leaves_nothing(guest: Guest) -> None:
    wrong = config("true")
    wrong["mounts"].append({"destination": "/x", "type": "nosuchfs", "source": "x"})
    with pytest.raises((InvalidArgument, Unsupported)):
        await guest.create("c", wrong)
    for member, value in (
        ("hooks", {"prestart": [{"path": "/bin/true"}]}),
        ("process", {**wrong["process"], "selinuxLabel": "x"}),
        ("process", {**wrong["process"], "apparmorProfile": "x"}),
    ):
        with pytest.raises(Unsupported, match="not supported"):
            await guest.create("c", {**config("true"), member: value})
    with pytest.raises(NotFound):
        await guest.create("c", config("true"), root={"lower": [{"disk": "none", "fstype": "erofs"}], "upper": None})
    with pytest.raises(InvalidArgument, match=r"no users? found|unable to find user"):
        await guest.create("c", config("true", user={"username": "nobody-knows-me"}))
    assert (await guest.ask("state"))["containers"] == []
    assert (await guest.run("c", "true")).code == 0


async def test_names_are_taken_and_unknown_ones_are_told(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    with pytest.raises(Conflict, match="exists"):
        await guest.create("c", config("true"))
    await guest.begin("c", "x", "sleep", "1000")
    with pytest.raises(Conflict, match="exists"):
        await guest.begin("c", "x", "sleep", "1000")
    for op, members in (
        ("container.start", {"container": "other"}),
        ("process.signal", {"container": "c", "process": "other", "signal": 9}),
        ("stream.close", {"stream": 99999}),
    ):
        with pytest.raises(NotFound):
            await guest.ask(op, **members)
    with pytest.raises(Conflict, match="not ended"):
        await guest.ask("process.reap", container="c", process="x")
    await guest.ask("container.delete", container="c", force=True)
    assert (await guest.ask("state"))["containers"] == []
