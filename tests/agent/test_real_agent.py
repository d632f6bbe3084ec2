# SPDX-License-Identifier: Apache-2.0
"""The client against the real agent, where a guest in memory proves nothing: torn frames and broken connections."""

from __future__ import annotations

import asyncio
import random

import pytest

from hypercell.agent import frames
from hypercell.agent.output import CREDIT
from tests.agent.raw import eventually
from tests.guest.conftest import Boot, boot, empty_disk, image
from tests.guest.guest import Guest

pytestmark = [pytest.mark.vm, pytest.mark.root]

__all__ = ["boot", "empty_disk", "image"]


async def broken(guest: Guest, last_words: bytes) -> None:
    """The daemon is killed while it writes; another one comes."""
    guest.agent._transport.write(last_words)
    await asyncio.sleep(0)
    guest.agent._transport.abort()
    await asyncio.wait_for(guest.agent.closed.wait(), 10)
    await guest.connect()


async def test_output_is_neither_lost_nor_doubled_over_many_connections(boot: Boot) -> None:
    guest = await boot()
    lines = b"".join(b"%d\n" % n for n in range(1, 300_001))
    streams = await guest.start("c", "seq", "1", "300000")
    log, connections = bytearray(), 0
    while len(log) < len(lines):
        output = guest.agent.output(streams.stdout, len(log))
        for _ in range(3):
            log += await output.read()
            output.acknowledge(output.position)
        await broken(guest, b"")
        connections += 1
    assert bytes(log) == lines
    assert connections > 2
    assert await guest.read(streams.stdout, len(log)) == b""


LAST_WORDS = {
    "half a header": frames.HEADER.pack(5000, frames.REQUEST, 0, 0, 7, 0)[:13],
    "half a request": frames.HEADER.pack(500_000, frames.REQUEST, 0, 0, 7, 0) + b"{" * 1000,
    "half of input": frames.HEADER.pack(60_000, frames.DATA, 0, 0, 9, 0) + bytes(59_999),
    "a bad header": frames.HEADER.pack(2**32 - 1, frames.REQUEST, 9, 9, 7, 0),
    "SYNC": frames.SYNC,
    "half a SYNC": frames.SYNC[:9],
    "noise": random.Random(7).randbytes(100_000),
    "nothing": b"",
}


async def test_the_agent_is_found_again_after_any_last_words(boot: Boot) -> None:
    guest = await boot()
    for name, words in LAST_WORDS.items():
        for _ in range(3):
            await broken(guest, words)
            assert await guest.ask("ping") == {}, name
    assert guest.agent.failure is None


async def test_input_goes_on_where_the_agent_stopped_hearing(boot: Boot) -> None:
    guest = await boot()
    streams = await guest.start("c", "cat", stdin=True)
    data = random.Random(1).randbytes(3_000_000)
    found = bytearray()
    while True:
        state = (await guest.state("c"))["stdin"]
        received = state["received"]
        entry = guest.agent.input(streams.stdin, received)
        output = guest.agent.output(streams.stdout, len(found))
        writing = asyncio.create_task(entry.write(data[received:]))
        while len(found) < len(data) and not writing.done() and len(found) < received + 400_000:
            found += await output.read()
            output.acknowledge(output.position)
        if writing.done() or len(found) >= len(data):
            await writing
            await entry.close()
            while piece := await output.read():
                found += piece
                output.acknowledge(output.position)
            break
        await broken(guest, b"")
        await asyncio.gather(writing, return_exceptions=True)
    assert bytes(found) == data


async def test_output_that_nobody_reads_holds_back_its_writer_alone(boot: Boot) -> None:
    guest = await boot()
    streams = await guest.start("c", "yes")
    guest.agent.output(streams.stdout)

    async def full() -> bool:
        end: int = (await guest.state("c"))["stdout"]["end"]
        return end == CREDIT

    await eventually(full)
    ended = await guest.execute("c", "echo", "beside")
    assert ended.stdout == b"beside\n"
    assert await full()
    await guest.ask("stream.close", stream=streams.stdout)
    await guest.ask("process.signal", container="c", process="init", signal=9)
    await guest.exit("c")
    assert await guest.ask("ping") == {}
    assert guest.agent.failure is None
