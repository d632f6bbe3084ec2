# SPDX-License-Identifier: Apache-2.0
"""The connection breaks anywhere, and no byte of output is lost or doubled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercell.agent import Client, connect, frames
from hypercell.agent.fake import FakeGuest
from hypercell.agent.fake.streams import OutputRing
from hypercell.agent.output import Output
from hypercell.base.errors import VmFailed
from tests.agent.raw import eventually, turns


async def greeted(guest: FakeGuest, events: list[Any] | None = None) -> Client:
    return await connect(guest.connect, (lambda event: None) if events is None else events.append, 10)


async def started(guest: FakeGuest, agent: Client, args: list[str], name: str = "c") -> tuple[int, int]:
    """Create and start a container; its stdin and stdout."""
    stdin, stdout = agent.new_stream(), agent.new_stream()
    process = {"args": args, "cwd": "/", "env": []}
    members = {"container": name, "config": {"process": process}, "stdin": stdin, "stdout": stdout}
    await agent.request("container.create", members)
    await agent.request("container.start", {"container": name})
    return stdin, stdout


class Log:
    """Where the node puts output: what is here survived the connection."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False

    async def fill(self, agent: Client, stream: int, reads: int | None = None) -> None:
        output = agent.output(stream, len(self.data))
        while reads is None or reads > 0:
            piece = await output.read()
            if not piece:
                self.ended = True
                output.acknowledge(output.position + 1)
                return
            self.data += piece
            output.acknowledge(output.position)
            reads = None if reads is None else reads - 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), max_size=8))
def test_output_survives_any_number_of_broken_connections(breaks: list[tuple[int, int]]) -> None:
    async def scenario() -> None:
        guest = FakeGuest()
        agent = await greeted(guest)
        script = "; ".join(f"echo {n:07d}" for n in range(3000))
        _, stdout = await started(guest, agent, ["sh", "-c", script])
        log = Log()
        for reads, delay in breaks:
            task = asyncio.create_task(log.fill(agent, stdout, reads))
            await turns(delay)
            guest.drop()
            await asyncio.wait_for(agent.closed.wait(), 10)
            await asyncio.gather(task, return_exceptions=True)
            if log.ended:
                break
            agent = await greeted(guest)
        if not log.ended:
            await log.fill(agent, stdout)
        assert bytes(log.data) == b"".join(b"%07d\n" % n for n in range(3000))
        await agent.close()

    asyncio.run(scenario())


class Wire:
    """A ring of the guest and an output of the host, with every frame between them in our hands."""

    def __init__(self) -> None:
        self.to_host: list[bytes] = []
        self.to_guest: list[bytes] = []
        self.ring = OutputRing(1, self.to_host.append, capacity=1000)
        self.log = bytearray()
        self.output = self.open()

    def open(self) -> Output:
        output = Output(1, len(self.log), self.to_guest.append, lambda stream: None)
        output.announce()
        return output

    def reconnect(self) -> None:
        self.to_host.clear()
        self.to_guest.clear()
        self.ring.greeted()
        self.output = self.open()

    def carry_to_host(self, count: int) -> None:
        parser = frames.FrameParser(frames.FROM_GUEST)
        data = b"".join(self.to_host[:count])
        del self.to_host[:count]
        for _, flags, _, offset, payload in parser.feed(data):
            self.output.data(offset, payload, bool(flags))

    def carry_to_guest(self, count: int) -> None:
        parser = frames.FrameParser(frames.FROM_HOST)
        data = b"".join(self.to_guest[:count])
        del self.to_guest[:count]
        for _, _, _, limit, payload in parser.feed(data):
            assert self.ring.window(frames.acknowledged_of(payload), limit) is None

    def read(self) -> None:
        while self.output._chunks:
            self.log += self.output._chunks.popleft()
            self.output._position = len(self.log)

    def acknowledge(self) -> None:
        self.output.acknowledge(len(self.log))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 700)),
        st.tuples(st.just("host"), st.integers(1, 3)),
        st.tuples(st.just("guest"), st.integers(1, 3)),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("acknowledge"), st.just(0)),
        st.tuples(st.just("reconnect"), st.just(0)),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(STEPS)
def test_a_stream_delivers_each_byte_once_under_any_order_of_events(
    steps: list[tuple[str, int]],
) -> None:
    wire, written = Wire(), bytearray()

    def write(size: int) -> None:
        piece = bytes((len(written) + n) % 251 for n in range(size))
        written.extend(piece[: wire.ring.write(piece)])

    actions = {
        "write": write,
        "host": wire.carry_to_host,
        "guest": wire.carry_to_guest,
        "read": lambda _: wire.read(),
        "acknowledge": lambda _: wire.acknowledge(),
        "reconnect": lambda _: wire.reconnect(),
    }
    for name, number in steps:
        actions[name](number)
        assert wire.log == written[: len(wire.log)]
        assert wire.ring.base <= len(wire.log)
    wire.ring.close()
    wire.reconnect()
    wire.carry_to_guest(100)
    wire.carry_to_host(100)
    wire.read()
    assert wire.log == written
    assert wire.output._eof
    wire.output.acknowledge(len(wire.log) + 1)
    wire.carry_to_guest(100)
    assert wire.ring.done


async def test_an_exit_that_nobody_saw_is_told_in_every_connection_until_it_is_reaped() -> None:
    guest = FakeGuest()
    agent = await greeted(guest)
    await started(guest, agent, ["sleep", "0.01"])
    guest.drop()

    async def stopped() -> bool:
        return guest.containers["c"].status == "stopped"

    await eventually(stopped)
    for _ in range(2):
        events: list[Any] = []
        agent = await greeted(guest, events)
        await agent.request("ping")
        assert [event["event"] for event in events] == ["process.exited"]
        await agent.close()
    agent = await greeted(guest)
    await agent.request("container.delete", {"container": "c"})
    await agent.close()
    events = []
    agent = await greeted(guest, events)
    await agent.request("ping")
    assert events == []
    await agent.close()


async def test_an_exit_that_nobody_saw_is_found_in_the_state() -> None:
    guest = FakeGuest()
    agent = await greeted(guest)
    stdin, stdout = await started(guest, agent, ["cat"])
    entry = agent.input(stdin)
    await entry.write(b"goodbye")
    await entry.close()
    guest.drop()
    await asyncio.wait_for(agent.closed.wait(), 10)
    await turns()
    events: list[Any] = []
    agent = await greeted(guest, events)
    state = await agent.request("state")
    [process] = state["containers"][0]["processes"]
    log = Log()
    if process["status"] == "running":  # the input was lost with the connection
        entry = agent.input(process["stdin"]["stream"], process["stdin"]["received"])
        await entry.write(b"goodbye"[process["stdin"]["received"] :])
        await entry.close()
    await log.fill(agent, stdout)
    assert log.data == b"goodbye"
    await agent.close()


async def test_input_goes_on_where_the_guest_stopped_hearing() -> None:
    guest = FakeGuest()
    agent = await greeted(guest)
    stdin, stdout = await started(guest, agent, ["cat"])
    log = Log()
    task = asyncio.create_task(log.fill(agent, stdout, 1))
    await agent.input(stdin).write(b"before ")
    await task
    guest.drop()
    await asyncio.wait_for(agent.closed.wait(), 10)
    agent = await greeted(guest)
    agent.reserve_streams(stdout)
    state = await agent.request("state")
    stdin_state = state["containers"][0]["processes"][0]["stdin"]
    assert stdin_state == {"stream": stdin, "received": 7, "closed": False}
    entry = agent.input(stdin, 7)
    await entry.write(b"after")
    await entry.close()
    await log.fill(agent, stdout)
    assert log.data == b"before after"
    await agent.close()


async def test_a_new_connection_ends_the_old_one() -> None:
    guest = FakeGuest()
    first = await greeted(guest)
    second = await greeted(guest)
    await asyncio.wait_for(first.closed.wait(), 10)
    with pytest.raises(VmFailed):
        await first.request("ping")
    assert await second.request("ping") == {}
    await second.close()


async def test_a_request_that_the_connection_lost_is_not_answered_in_the_next() -> None:
    guest = FakeGuest()
    guest.faults.delays["ping"] = 0.05
    agent = await greeted(guest)
    task = asyncio.create_task(agent.request("ping"))
    await turns()
    guest.drop()
    with pytest.raises(VmFailed):
        await task
    agent = await greeted(guest)
    assert await agent.request("ping") == {}
    assert guest.requests == 2
    assert agent.failure is None
    await agent.close()
