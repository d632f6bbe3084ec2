# SPDX-License-Identifier: Apache-2.0
"""A guest that says anything: the host never hangs, raises only its typed errors, and holds little."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercell.agent import Client, client, frames
from hypercell.agent.frames import HEADER, SYNC
from hypercell.agent.output import CREDIT
from hypercell.base.errors import HypercellError
from tests.agent.raw import RawGuest, answering, payload, turns

NAMES = st.sampled_from(["c", "init", "e1", "", "../x", "a" * 65, "\x1b"])
NUMBERS = st.sampled_from([0, 1, 2, 9, 255, 2**31, 2**32, 2**63, 2**64 - 1, -1])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["pid", "event", "container", "process", "code", "message", "configured", "containers", "stat"]),
    VALUES | st.sampled_from(["process.exited", "log", "busy"]),
    max_size=5,
)
IDS = st.sampled_from([0, 1, 2, 3, 9, 2**32 - 1])
OFFSETS = st.sampled_from([0, 1, 5, CREDIT - 1, CREDIT, CREDIT + 1, 2**63, 2**64 - 1])
FRAMES = st.one_of(
    st.builds(
        lambda kind, ident, members: frames.encode(kind, ident, json.dumps(members).encode()),
        st.sampled_from([frames.REPLY, frames.ERROR, frames.EVENT, frames.WELCOME]),
        IDS,
        MEMBERS,
    ),
    st.builds(
        lambda ident, data, flags, offset: frames.encode(frames.DATA, ident, data, flags, offset),
        IDS,
        st.binary(max_size=40) | st.just(bytes(frames.MAX_DATA)),
        st.integers(0, 1),
        OFFSETS,
    ),
    st.builds(frames.encode_window, IDS, OFFSETS, OFFSETS),
    st.builds(
        lambda length, kind, flags, zero, ident, offset: HEADER.pack(length, kind, flags, zero, ident, offset),
        st.sampled_from([0, 8, 100, frames.MAX_DATA, frames.MAX_PAYLOAD, 2**31, 2**32 - 1]),
        st.integers(0, 12),
        st.sampled_from([0, 1, 2, 255]),
        st.sampled_from([0, 0, 0, 1]),
        IDS,
        OFFSETS,
    ),
    st.just(SYNC),
    st.just(SYNC + frames.encode(frames.ERROR, 0, payload({"code": "unsupported", "message": "imitated"}))),
    st.binary(max_size=60),
)


async def everything(agent: Client, guest: RawGuest) -> list[Any]:
    """Every way of waiting for the guest at once; whatever it said, all of them end when it hangs up."""
    output, entry = agent.output(9), agent.input(2)

    async def read() -> int:
        total = 0
        while data := await output.read():
            total += len(data)
            output.acknowledge(output.position)
        return total

    waiting = [
        asyncio.create_task(agent.request(op, {"container": "c", "process": "e1", "stdout": 3}))
        for op in ("ping", "state", "container.create", "archive.stat", "process.reap")
    ]
    waiting.append(asyncio.create_task(read()))
    waiting.append(asyncio.create_task(entry.write(bytes(300_000))))
    await turns(5)
    return waiting


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAMES, max_size=25), st.lists(st.integers(1, 200), max_size=10))
def test_a_guest_that_sends_anything_gets_nothing_but_typed_errors(sent: list[bytes], cuts: list[int]) -> None:
    async def scenario() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        events: list[Any] = []
        guest = RawGuest()
        agent = await guest.connect(events.append)
        waiting = await everything(agent, guest)
        data = b"".join(sent)
        for cut in cuts:
            guest.send(data[:cut])
            data = data[cut:]
            await turns(3)
        guest.send(data)
        await turns(10)
        guest.hang_up()
        async with asyncio.timeout(10):
            results = await asyncio.gather(*waiting, return_exceptions=True)
        for result in results:
            assert not isinstance(result, BaseException) or isinstance(result, HypercellError), repr(result)
        assert agent.closed.is_set()
        assert agent.failure
        assert not complaints
        for event in events:
            json.dumps(event).encode()

    asyncio.run(scenario())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=500) | st.just(SYNC) | FRAMES, max_size=20))
def test_anything_before_the_welcome_is_survived(stale: list[bytes]) -> None:
    async def scenario() -> None:
        guest = RawGuest()

        def answer(guest: RawGuest, hello: Any) -> None:
            guest.send(*stale)
            guest.welcome(hello)

        guest.answer = answer
        agent = await guest.connect()
        assert agent.failure is None
        await agent.close()

    asyncio.run(scenario())


FLOODS: dict[str, Callable[[int], bytes]] = {
    "windows": lambda n: frames.encode_window(n + 100, 0, 2**63),
    "empty data": lambda n: frames.encode(frames.DATA, 9),
    "old data": lambda n: frames.encode(frames.DATA, 9, b"x" * 100),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_is_not_kept(flood: Callable[[int], bytes]) -> None:
    guest = RawGuest()
    agent = await guest.connect()
    output = agent.output(9)
    await guest.until(lambda: bool(guest.windows(9)))
    tracemalloc.start()
    try:
        for start in range(0, 20_000, 1000):
            guest.send(*(flood(n) for n in range(start, start + 1000)))
            await turns(8)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert agent.failure is None
    assert output.position == 0
    assert held < 2_000_000
    await agent.close()


async def test_a_flood_of_events_ends_the_connection() -> None:
    guest = RawGuest()
    events: list[Any] = []
    agent = await guest.connect(events.append)
    for n in range(client.EVENTS[0] * 2):
        guest.event("container.oom", container=f"c{n}")
    await asyncio.wait_for(agent.closed.wait(), 10)
    assert "events" in str(agent.failure)
    assert client.EVENTS[0] <= len(events) < client.EVENTS[0] * 2


async def test_a_flood_of_log_lines_is_cut() -> None:
    guest = RawGuest()
    events: list[Any] = []
    agent = await guest.connect(events.append)
    for n in range(1000):
        guest.event("log", level="info", message=f"line {n}")
    guest.event("container.oom", container="c")
    await guest_is_heard(guest, agent)
    assert client.LOGS[0] <= len(events) < 500
    assert events[-1]["event"] == "container.oom"
    await agent.close()


async def guest_is_heard(guest: RawGuest, agent: Client) -> None:
    guest.script = answering({})
    assert await agent.request("ping") == {}


async def test_a_stream_that_nobody_reads_holds_no_more_than_its_credit() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    agent.output(9)
    await guest.until(lambda: bool(guest.windows(9)))
    tracemalloc.start()
    try:
        for start in range(0, CREDIT, 8192):
            guest.send(*(frames.encode(frames.DATA, 9, bytes(8), 0, start + n) for n in range(0, 8192, 8)))
            await turns(8)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * CREDIT
    await agent.close()


async def test_a_guest_that_never_reads_holds_no_acknowledgements_back_in_memory() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    output = agent.output(9)
    await guest.until(lambda: bool(guest.windows(9)))
    assert guest._transport is not None
    guest._transport.pause_reading()
    position = 0
    while position < CREDIT:
        guest.data(9, position, bytes(65536))
        position += 65536
        await output.read()
        output.acknowledge(output.position)
    assert guest._transport.peer.get_write_buffer_size() < 10_000
    guest.data(9, position, bytes(65536))
    guest.data(9, position + 65536, b"")
    await turns()
    assert agent.failure is None
    await agent.close()


async def test_frames_of_many_streams_interleaved_arrive_whole() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    outputs = {stream: agent.output(stream) for stream in range(1, 201)}
    for n in range(50):
        guest.send(*(frames.encode(frames.DATA, s, b"%06d" % (s * n), int(n == 49), n * 6) for s in outputs))
    for stream, output in outputs.items():
        found = b""
        while data := await output.read():
            found += data
        assert found == b"".join(b"%06d" % (stream * n) for n in range(50))
    await agent.close()
