# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hypercell.agent import Client, frames
from hypercell.agent.output import CREDIT
from hypercell.base.errors import Conflict, VmFailed
from tests.agent.raw import RawGuest, answering, turns


async def opened(**replies: Any) -> tuple[RawGuest, Client]:
    guest = RawGuest()
    guest.script = answering({"container.create": {"pid": 2}, "process.exec": {"pid": 3}, **replies})
    return guest, await guest.connect()


async def lost(agent: Client) -> str:
    await asyncio.wait_for(agent.closed.wait(), 10)
    assert agent.failure is not None
    return agent.failure


async def test_bytes_come_in_order_until_the_end() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    guest.data(9, 0, b"one ")
    guest.data(9, 4, b"two")
    guest.data(9, 7, b"", eof=True)
    found = b""
    while data := await output.read():
        found += data
    assert found == b"one two"
    assert output.position == 7
    assert await output.read() == b""
    await agent.close()


async def test_a_reader_that_waits_is_woken() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    task = asyncio.create_task(output.read())
    await turns()
    assert not task.done()
    guest.data(9, 0, b"x")
    assert await task == b"x"
    await agent.close()


async def test_a_cancelled_read_loses_nothing() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    task = asyncio.create_task(output.read())
    await turns()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    guest.data(9, 0, b"x")
    assert await output.read() == b"x"
    await agent.close()


async def test_two_readers_of_one_stream_are_refused() -> None:
    _guest, agent = await opened()
    output = agent.output(9)
    task = asyncio.create_task(output.read())
    await turns()
    with pytest.raises(RuntimeError):
        await output.read()
    await agent.close()
    with pytest.raises(VmFailed):
        await task


async def test_credit_is_granted_from_the_start_and_grows_with_what_is_acknowledged() -> None:
    guest, agent = await opened()
    output = agent.output(9, start=1000)
    await guest.until(lambda: bool(guest.windows(9)))
    assert guest.windows(9) == [(1000, 1000 + CREDIT)]
    guest.data(9, 1000, bytes(65536))
    await output.read()
    output.acknowledge(output.position)
    await guest.until(lambda: len(guest.windows(9)) == 2)
    assert guest.windows(9)[1] == (66536, 66536 + CREDIT)
    await agent.close()


async def test_small_acknowledgements_are_saved_up() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    for offset in range(0, 40_000, 100):
        guest.data(9, offset, bytes(100))
    while output.position < 40_000:
        await output.read()
        output.acknowledge(output.position)
    for position in range(0, 40_000, 100):
        output.acknowledge(position)
    await turns()
    assert 1 <= len(guest.windows(9)) <= 3
    await agent.close()


async def test_the_end_is_acknowledged_at_once_with_one_more_than_the_bytes() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    guest.data(9, 0, b"abc", eof=True)
    assert await output.read() == b"abc"
    assert await output.read() == b""
    output.acknowledge(output.position + 1)
    await guest.until(lambda: len(guest.windows(9)) == 2)
    assert guest.windows(9)[1][0] == 4
    guest.data(9, 3, b"", eof=True)
    assert "stream 9" in await lost(agent)


async def test_acknowledging_what_never_came_is_the_callers_error() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    guest.data(9, 0, b"abc")
    await output.read()
    for position in (4, 5):
        with pytest.raises(ValueError, match="never received"):
            output.acknowledge(position)
    await agent.close()


async def test_a_new_stream_gets_its_credit_when_the_guest_knows_it() -> None:
    guest, agent = await opened()
    stream = agent.new_stream()
    output = agent.output(stream)
    await turns()
    assert guest.windows(stream) == []
    await agent.request("container.create", {"container": "c", "stdout": stream})
    await guest.until(lambda: guest.windows(stream) == [(0, CREDIT)])
    guest.data(stream, 0, b"x")
    assert await output.read() == b"x"
    await agent.close()


async def test_a_stream_opened_after_its_request_gets_its_credit_at_once() -> None:
    guest, agent = await opened()
    stream = agent.new_stream()
    await agent.request("container.create", {"container": "c", "stdout": stream})
    agent.output(stream)
    await guest.until(lambda: guest.windows(stream) == [(0, CREDIT)])
    await agent.close()


async def test_the_streams_of_a_request_that_failed_end_at_once() -> None:
    guest, agent = await opened()
    stdin, stdout = agent.new_stream(), agent.new_stream()
    output, entry = agent.output(stdout), agent.input(stdin)
    writing = asyncio.create_task(entry.write(b"x"))
    guest.script = lambda guest, frame: guest.error(frame[2], "exists", "c exists")
    with pytest.raises(Conflict):
        await agent.request("container.create", {"container": "c", "stdout": stdout, "stdin": stdin})
    assert await output.read() == b""
    await writing
    await agent.close()


@pytest.mark.parametrize("op", ["process.reap", "container.delete"])
async def test_a_reader_does_not_wait_for_ever_when_the_process_is_forgotten(op: str) -> None:
    guest, agent = await opened()
    mine, other = agent.new_stream(), agent.new_stream()
    await agent.request("process.exec", {"container": "c", "process": "e1", "spec": {}, "stdout": mine})
    await agent.request("process.exec", {"container": "d", "process": "e1", "spec": {}, "stdout": other})
    outputs = agent.output(mine), agent.output(other)
    guest.data(mine, 0, b"last words")
    await agent.request(op, {"container": "c", "process": "e1"})
    assert await outputs[0].read() == b"last words"
    assert await outputs[0].read() == b""
    guest.data(other, 0, b"alive")
    assert await outputs[1].read() == b"alive"
    await agent.close()


async def test_streams_known_from_the_state_end_with_their_container() -> None:
    ring = {"stream": 77, "base": 5, "end": 9, "eof": False}
    process = {"process": "init", "pid": 4, "status": "running", "stdout": ring}
    state = {"configured": True, "containers": [{"container": "c", "status": "running", "processes": [process]}]}
    _guest, agent = await opened(state=state)
    await agent.request("state")
    agent.reserve_streams(77)
    assert agent.new_stream() == 78
    output = agent.output(77, start=5)
    await agent.request("container.delete", {"container": "c", "force": True})
    assert await output.read() == b""
    await agent.close()


async def test_data_on_its_way_to_a_closed_stream_is_dropped() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    await agent.request("stream.close", {"stream": 9})
    guest.data(9, 0, b"late")
    guest.data(9, 100, b"", eof=True)
    assert await agent.request("ping") == {}
    assert await output.read() == b""
    await agent.close()


async def test_a_slow_reader_blocks_no_other_stream_and_no_request() -> None:
    guest, agent = await opened()
    slow, quick = agent.output(1), agent.output(2)
    for offset in range(0, CREDIT, 65536):
        guest.data(1, offset, bytes(65536))
    total = 0
    while total < 4 * CREDIT:
        guest.data(2, total, bytes(65536))
        total += len(await quick.read())
        quick.acknowledge(quick.position)
    assert await agent.request("ping") == {}
    assert slow.position == 0
    assert len(guest.windows(1)) == 1
    await agent.close()


async def test_a_million_tiny_frames_cost_little_memory_and_few_turns() -> None:
    guest, agent = await opened()
    output = agent.output(1)
    total, position, reads = 1_000_000, 0, 0
    while output.position < total:
        limit = min(total, guest.windows(1)[-1][1]) if guest.windows(1) else 0
        guest.send(*(frames.encode(frames.DATA, 1, b"x", 0, offset) for offset in range(position, limit)))
        position = max(position, limit)
        await turns(4)
        if output.position < position:
            data = await output.read()
            reads += 1
            assert 0 < len(data) <= frames.MAX_DATA
            assert len(output._chunks) <= CREDIT // 1024
            output.acknowledge(output.position)
    assert reads < total / 1000
    await agent.close()


async def test_bytes_that_came_before_the_loss_can_be_read_then_it_is_told() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    guest.data(9, 0, b"last")
    await turns()
    guest.hang_up()
    await lost(agent)
    assert await output.read() == b"last"
    output.acknowledge(4)
    for _ in range(2):
        with pytest.raises(VmFailed) as caught:
            await output.read()
        assert caught.value.reason == "agent-lost"
    with pytest.raises(VmFailed):
        await agent.output(10).read()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (lambda guest: guest.data(8, 0, b"x"), "stream 8"),
        (lambda guest: guest.data(9, 1, b"x"), "gap"),
        (lambda guest: guest.data(9, 2**64 - 1, b"x"), "gap"),
        (lambda guest: [guest.data(9, n * 65536, bytes(65536)) for n in range(5)], "credit"),
        (lambda guest: [guest.data(9, 0, b"x", eof=True), guest.data(9, 1, b"y")], "behind the end"),
        (lambda guest: [guest.data(9, 0, b"xyz"), guest.data(9, 0, b"x", eof=True)], "end at 1"),
        (lambda guest: guest.send(frames.encode_window(9, 0, 0)), "WINDOW for an output"),
    ],
)
async def test_a_guest_that_breaks_the_rules_of_streams_loses_the_connection(script: Any, words: str) -> None:
    guest, agent = await opened()
    agent.output(9)
    await guest.until(lambda: bool(guest.windows(9)))
    script(guest)
    assert words in await lost(agent)


async def test_bytes_that_came_before_are_cut_off() -> None:
    guest, agent = await opened()
    output = agent.output(9)
    guest.data(9, 0, b"abcdef")
    guest.data(9, 0, b"abc")
    guest.data(9, 4, b"efgh")
    guest.data(9, 8, b"", eof=True)
    guest.data(9, 8, b"", eof=True)
    found = b""
    while data := await output.read():
        found += data
    assert found == b"abcdefgh"
    await agent.close()


async def test_stream_ids_are_never_used_twice_and_never_wrap() -> None:
    _guest, agent = await opened()
    assert [agent.new_stream() for _ in range(3)] == [1, 2, 3]
    agent.reserve_streams(2)
    assert agent.new_stream() == 4
    agent.reserve_streams(2**32 - 1)
    with pytest.raises(VmFailed):
        agent.new_stream()
    await agent.close()


async def test_a_stream_cannot_be_opened_twice() -> None:
    _guest, agent = await opened()
    agent.output(5)
    agent.input(6)
    with pytest.raises(ValueError, match="open"):
        agent.output(5)
    with pytest.raises(ValueError, match="open"):
        agent.input(6)
    await agent.close()
