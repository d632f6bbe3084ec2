# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

import pytest

from hypercell.agent import connect, frames
from hypercell.agent.fake import FakeGuest
from hypercell.base.errors import VmFailed
from tests.agent.raw import RawGuest, answering, turns


def sent_to(guest: RawGuest, stream: int) -> list[tuple[int, bytes, int]]:
    return [
        (offset, data, flags)
        for kind, flags, ident, offset, data in guest.frames
        if kind == frames.DATA and ident == stream
    ]


async def test_nothing_is_sent_without_credit() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    entry = agent.input(4)
    task = asyncio.create_task(entry.write(b"hello"))
    await turns()
    assert sent_to(guest, 4) == []
    guest.send(frames.encode_window(4, 0, 3))
    await guest.until(lambda: sent_to(guest, 4) == [(0, b"hel", 0)])
    assert not task.done()
    guest.send(frames.encode_window(4, 3, 100))
    await task
    await guest.until(lambda: len(sent_to(guest, 4)) == 2)
    assert sent_to(guest, 4)[1] == (3, b"lo", 0)
    await agent.close()


async def test_credit_that_came_before_anybody_asked_for_the_stream_counts() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    guest.send(frames.encode_window(4, 50, 150))
    await turns()
    await agent.input(4, start=50).write(b"hello")
    await guest.until(lambda: sent_to(guest, 4) == [(50, b"hello", 0)])
    await agent.close()


async def test_the_end_needs_no_credit_and_is_sent_once() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    entry = agent.input(4)
    await entry.close()
    await entry.close()
    await guest.until(lambda: bool(sent_to(guest, 4)))
    await entry.write(b"dropped")
    await turns()
    assert sent_to(guest, 4) == [(0, b"", frames.EOF)]
    await agent.close()


async def test_a_large_write_goes_in_frames_of_64_kib_in_order() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    entry = agent.input(4)
    guest.send(frames.encode_window(4, 0, 2**40))
    data = bytes(range(256)) * 1000
    await asyncio.gather(entry.write(data), entry.write(b"tail"))
    await entry.close()
    await guest.until(lambda: sent_to(guest, 4)[-1:] == [(256_004, b"", frames.EOF)])
    pieces = sent_to(guest, 4)
    assert b"".join(piece for _, piece, _ in pieces) == data + b"tail"
    assert max(len(piece) for _, piece, _ in pieces) == frames.MAX_DATA
    assert [offset for offset, _, _ in pieces] == [sum(len(p) for _, p, _ in pieces[:n]) for n in range(len(pieces))]
    await agent.close()


async def test_a_guest_that_does_not_read_its_channel_holds_the_writer_back() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    entry = agent.input(4)
    guest.send(frames.encode_window(4, 0, 2**60))
    await turns()
    assert guest._transport is not None
    guest._transport.pause_reading()
    task = asyncio.create_task(entry.write(bytes(64 * 1024 * 1024)))
    await turns(200)
    assert not task.done()
    assert guest._transport.peer.get_write_buffer_size() < 1024 * 1024
    guest._transport.resume_reading()
    await task
    await agent.close()


async def test_what_is_written_for_a_process_that_ended_is_dropped() -> None:
    guest = RawGuest()
    guest.script = answering({"container.create": {"pid": 2}})
    agent = await guest.connect()
    stream = agent.new_stream()
    await agent.request("container.create", {"container": "c", "stdin": stream})
    entry = agent.input(stream)
    task = asyncio.create_task(entry.write(b"x" * 100))
    await turns()
    assert not task.done()
    guest.event("process.exited", container="c", process="init", code=0, signal=0, oom=False, exited_ns=1)
    await task
    await entry.write(b"more")
    assert sent_to(guest, stream) == []
    await agent.close()


async def test_a_writer_learns_that_the_agent_is_lost() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    entry = agent.input(4)
    task = asyncio.create_task(entry.write(b"x"))
    await turns()
    guest.hang_up()
    with pytest.raises(VmFailed) as caught:
        await task
    assert caught.value.reason == "agent-lost"
    await entry.close()


async def test_acknowledging_more_than_was_sent_ends_the_connection() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    agent.input(4)
    guest.send(frames.encode_window(4, 1, 100))
    await asyncio.wait_for(agent.closed.wait(), 10)
    assert "acknowledged" in str(agent.failure)


async def test_credit_for_countless_unknown_streams_takes_no_memory() -> None:
    guest = RawGuest()
    guest.script = answering({})
    agent = await guest.connect()
    for first in range(1, 50_000, 1000):
        guest.send(*(frames.encode_window(stream, 0, 1) for stream in range(first, first + 1000)))
    await agent.request("ping")
    assert len(agent._streams._early) <= 1024
    assert agent.failure is None
    await agent.close()


async def test_credit_survives_for_a_guest_with_a_reader_slower_than_the_writer() -> None:
    guest = FakeGuest()
    async with asyncio.timeout(30):
        agent = await connect(guest.connect, lambda event: None, 10)
        stdin, stdout = agent.new_stream(), agent.new_stream()
        output = agent.output(stdout)
        config = {"process": {"args": ["cat"]}}
        members = {"container": "c", "config": config, "stdin": stdin, "stdout": stdout}
        await agent.request("container.create", members)
        await agent.request("container.start", {"container": "c"})
        entry = agent.input(stdin)
        data = bytes(range(256)) * 8192

        async def feed() -> None:
            await entry.write(data)
            await entry.close()

        task = asyncio.create_task(feed())
        found = bytearray()
        while piece := await output.read():
            found += piece
            output.acknowledge(output.position)
        await task
        assert bytes(found) == data
        await agent.close()
