# SPDX-License-Identifier: Apache-2.0
"""Bytes in and out: nothing is lost, doubled or reordered, however slow or forgetful the host is."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from hypercell.base.errors import Conflict, InvalidArgument
from tests.guest.guest import Guest
from tests.guest.specifications import config

pytestmark = [pytest.mark.vm, pytest.mark.root]

LINES = 60000


def numbers(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(1, count + 1))


async def test_output_is_whole_when_the_host_reads_slowly(guest: Guest) -> None:
    streams = await guest.start("c", "seq", str(LINES))
    output = guest.agent.output(streams.stdout)
    found = bytearray()
    while chunk := await output.read():
        found += chunk
        await asyncio.sleep(0.01)
        output.acknowledge(output.position)
    assert bytes(found) == numbers(LINES)
    assert (await guest.exit("c"))["code"] == 0


async def test_a_program_waits_while_nobody_acknowledges(guest: Guest) -> None:
    streams = await guest.start("c", "seq", str(LINES))
    output = guest.agent.output(streams.stdout)
    first = await output.read()
    ring = await _filled(guest)
    assert ring["base"] == 0
    assert ring["end"] < len(numbers(LINES))
    assert not ring["eof"]
    assert (await guest.state("c"))["status"] == "running"
    found = bytearray(first)
    output.acknowledge(output.position)
    while chunk := await output.read():
        found += chunk
        output.acknowledge(output.position)
    assert bytes(found) == numbers(LINES)


async def _filled(guest: Guest) -> dict[str, int]:
    """The ring of stdout, once it grows no more."""
    ring: dict[str, int] = {}
    while True:
        before = ring
        await asyncio.sleep(0.2)
        ring = (await guest.state("c"))["stdout"]
        if ring == before:
            return ring


async def test_a_reconnection_in_the_middle_of_output_loses_and_doubles_nothing(guest: Guest) -> None:
    streams = await guest.start("c", "sh", "-c", f"seq {LINES}; exit 5")
    dice = random.Random(1)
    found = bytearray()
    for _ in range(6):
        output = guest.agent.output(streams.stdout, len(found))
        for _ in range(dice.randrange(3)):
            found += await output.read()
            output.acknowledge(output.position)
        # What was read but not acknowledged is sent again: the host starts where the guest's memory begins.
        await guest.reconnect()
        base = (await guest.state("c"))["stdout"]["base"]
        assert base <= len(found)
        del found[base:]
    found += await guest.read(streams.stdout, len(found))
    assert bytes(found) == numbers(LINES)
    assert (await guest.exit("c"))["code"] == 5


async def test_an_exit_while_the_host_was_away_is_told_when_it_is_back(guest: Guest) -> None:
    streams = await guest.start("c", "sh", "-c", "sleep 0.3; echo last words; exit 9")
    await guest.agent.close()
    await asyncio.sleep(1.5)
    await guest.connect()
    found = await guest.state("c")
    assert (found["status"], found["code"], found["stdout"]["eof"]) == ("exited", 9, True)
    assert (await guest.exit("c"))["code"] == 9
    assert await guest.read(streams.stdout) == b"last words\n"
    await guest.ask("container.delete", container="c")


async def test_a_fresh_greeting_without_a_hang_up_starts_over(guest: Guest) -> None:
    """A second host on the same channel: SYNC in the middle of everything."""
    streams = await guest.start("c", "seq", "1000")
    await guest.exit("c")
    guest.agent._transport.write(b"\0" * 100 + b"\x07\xff\x00")
    await guest.reconnect()
    assert await guest.read(streams.stdout) == numbers(1000)


async def test_input_arrives_whole_and_its_end_too(guest: Guest) -> None:
    data = random.Random(2).randbytes(3_000_000)
    ended = await guest.run("c", "md5sum", data=data)
    assert ended.stdout.split()[0].decode() == hashlib.md5(data, usedforsecurity=False).hexdigest()


async def test_input_waits_for_a_reader_and_is_dropped_after_its_end(guest: Guest) -> None:
    streams = await guest.start("c", "sh", "-c", "read line; echo $line; exec sleep 0.5", stdin=True)
    entry = guest.agent.input(streams.stdin)
    writing = asyncio.create_task(entry.write(b"hello\n" + bytes(1 << 20)))
    assert await guest.read(streams.stdout) == b"hello\n"
    await guest.exit("c")
    await asyncio.wait_for(writing, 20)
    assert (await guest.state("c"))["stdin"]["closed"]


async def test_input_goes_on_over_a_reconnection(guest: Guest) -> None:
    streams = await guest.start("c", "sh", "-c", "cat", stdin=True)
    await guest.agent.input(streams.stdin).write(b"one ")
    output = guest.agent.output(streams.stdout)
    assert await output.read() == b"one "
    await guest.reconnect()
    received = (await guest.state("c"))["stdin"]["received"]
    assert received == 4
    entry = guest.agent.input(streams.stdin, received)
    await entry.write(b"two")
    await entry.close()
    assert await guest.read(streams.stdout) == b"one two"
    assert (await guest.exit("c"))["code"] == 0


async def test_a_stream_ends_though_a_stranger_still_holds_it(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    ended = await guest.execute("c", "sh", "-c", "sleep 500 & echo gone")
    assert (ended.code, ended.stdout) == (0, b"gone\n")
    rows = (await guest.ask("container.processes", container="c"))["processes"]
    assert sum(row["args"][:1] == ["sleep"] for row in rows) == 2


async def test_a_closed_output_does_not_stop_its_program(guest: Guest) -> None:
    streams = await guest.start("c", "sh", "-c", f"seq {LINES}; exit 4")
    await guest.ask("stream.close", stream=streams.stdout)
    assert (await guest.exit("c"))["code"] == 4


async def test_a_terminal_is_one(guest: Guest) -> None:
    script = "tty; stty size; test -c /dev/console && echo console; read line; echo got $line; ls -ln /dev/pts/0"
    streams = await guest.start(
        "c", "sh", "-c", script, terminal=True, stdin=True, rows=33, columns=101, user={"uid": 1000, "gid": 1000}
    )
    output, begun = guest.agent.output(streams.stdout), b""
    while b"console\r\n" not in begun:  # an echo would come in between
        begun += await output.read()
    assert begun == b"/dev/pts/0\r\n33 101\r\nconsole\r\n"
    await guest.agent.input(streams.stdin).write(b"hello\r")
    rest = b""
    while piece := await output.read():
        rest += piece
    found = rest.replace(b"\r\n", b"\n").decode()
    assert found.startswith("hello\ngot hello\n")
    assert found.splitlines()[-1].split()[:4] == ["crw--w----", "1", "1000", "5"]
    assert (await guest.exit("c"))["code"] == 0


async def test_a_terminal_changes_its_size_and_tells_its_program(guest: Guest) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    await guest.start("c", "sleep", "1000")
    streams = await guest.begin("c", "x", "sh", "-c", script, terminal=True, stdin=True)
    output = guest.agent.output(streams.stdout)
    assert (await output.read()).startswith(b"ready")
    await guest.ask("process.resize", container="c", process="x", rows=40, columns=132)
    found = b""
    while b"40 132" not in found:
        found += await output.read()
    await guest.agent.input(streams.stdin).write(b"\x03")  # Ctrl-C
    event = await guest.exit("c", "x")
    assert (event["code"], event["signal"]) == (130, 2)
    with pytest.raises(InvalidArgument, match="no terminal"):
        await guest.ask("process.resize", container="c", process="init", rows=40, columns=132)


async def test_a_stream_belongs_to_one_process(guest: Guest) -> None:
    streams = await guest.start("c", "sleep", "1000")
    with pytest.raises(InvalidArgument, match="twice"):
        await guest.ask(
            "container.create", container="d", root=None, config=config("true"), stdin=0, stdout=77, stderr=77
        )
    with pytest.raises(Conflict, match="exists"):
        await guest.ask(
            "process.exec", container="c", process="x", spec=config("true")["process"], stdout=streams.stdout
        )
