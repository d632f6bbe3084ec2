# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hypercell.agent import frames, requests
from hypercell.agent.requests import MAX_OPEN
from hypercell.base.errors import Conflict, ExecFailed, InvalidArgument, VmFailed
from tests.agent.raw import RawGuest, answering, turns


async def test_replies_find_their_requests_in_any_order() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    tasks = [asyncio.create_task(agent.request("container.start", {"container": f"c{n}"})) for n in range(50)]
    await guest.until(lambda: len(guest.requests()) == 50)
    for ident, members in reversed(guest.requests()):
        guest.reply(ident, {"pid": 100 + int(members["container"][1:])})
    assert [reply["pid"] for reply in await asyncio.gather(*tasks)] == list(range(100, 150))
    await agent.close()


async def test_requests_are_numbered_from_one_and_no_number_is_used_twice() -> None:
    guest = RawGuest()
    guest.script = answering({})
    agent = await guest.connect()
    for _ in range(20):
        await agent.request("ping")
    assert [ident for ident, _ in guest.requests()] == list(range(1, 21))
    await agent.close()


async def test_no_more_than_256_requests_are_open_and_none_is_lost() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    tasks = [asyncio.create_task(agent.request("ping")) for _ in range(MAX_OPEN + 50)]
    await guest.until(lambda: len(guest.requests()) >= MAX_OPEN)
    await turns()
    assert len(guest.requests()) == MAX_OPEN
    answered = 0
    while answered < MAX_OPEN + 50:
        for ident, _ in guest.requests()[answered:]:
            guest.reply(ident, {})
            answered += 1
            await turns(5)
            assert len(guest.requests()) - answered <= MAX_OPEN
    await asyncio.gather(*tasks)
    await agent.close()


async def test_an_error_is_raised_and_the_connection_stays() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    guest.script = lambda guest, frame: guest.error(frame[2], "busy", "it runs")
    with pytest.raises(Conflict, match="it runs"):
        await agent.request("container.delete", {"container": "c"})
    guest.script = lambda guest, frame: guest.error(frame[2], "exec-not-found", "sh: not found")
    with pytest.raises(ExecFailed) as caught:
        await agent.request("container.start", {"container": "c"})
    assert caught.value.exit_code == 127
    guest.script = answering({})
    assert await agent.request("ping") == {}
    await agent.close()


async def test_a_request_that_is_not_answered_times_out_and_its_late_answer_is_dropped() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    with pytest.raises(VmFailed) as caught:
        await agent.request("ping", timeout=0.01)
    assert caught.value.reason == "agent-lost"
    guest.reply(1, {})
    guest.script = answering({})
    assert await agent.request("ping") == {}
    assert agent.failure is None
    await agent.close()


async def test_a_cancelled_requests_late_answer_is_dropped() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    task = asyncio.create_task(agent.request("ping"))
    await guest.until(lambda: bool(guest.requests()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    guest.error(1, "internal")
    guest.script = answering({})
    assert await agent.request("ping") == {}
    await agent.close()


async def test_a_request_that_times_out_in_the_queue_is_never_sent() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    tasks = [asyncio.create_task(agent.request("ping")) for _ in range(MAX_OPEN)]
    await guest.until(lambda: len(guest.requests()) == MAX_OPEN)
    with pytest.raises(VmFailed):
        await agent.request("sync", timeout=0.01)
    guest.script = answering({})
    for ident, _ in guest.requests():
        guest.reply(ident, {})
    await asyncio.gather(*tasks)
    await agent.request("ping")
    assert all(members["op"] == "ping" for _, members in guest.requests())
    await agent.close()


async def test_an_answer_to_a_request_that_is_not_open_ends_the_connection() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    task = asyncio.create_task(agent.request("ping"))
    await guest.until(lambda: bool(guest.requests()))
    guest.reply(2, {})
    with pytest.raises(VmFailed, match="request 2") as caught:
        await task
    assert caught.value.reason == "agent-lost"
    assert agent.closed.is_set()
    await asyncio.wait_for(guest.gone.wait(), 10)


async def test_a_second_answer_ends_the_connection() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    guest.script = lambda guest, frame: (guest.reply(frame[2], {}), guest.reply(frame[2], {}))[0]
    assert await agent.request("ping") == {}
    await asyncio.wait_for(agent.closed.wait(), 10)


@pytest.mark.parametrize(
    ("op", "reply"),
    [
        ("container.create", {}),
        ("container.create", {"pid": "1"}),
        ("state", {"configured": True}),
        ("archive.stat", {"stat": {"name": 1}}),
        ("ping", [1]),
    ],
)
async def test_a_reply_of_the_wrong_shape_ends_the_connection_and_says_why(op: str, reply: Any) -> None:
    guest = RawGuest()
    agent = await guest.connect()
    guest.script = answering({op: reply})
    with pytest.raises(VmFailed, match="broke the protocol"):
        await agent.request(op, {"container": "c"})
    assert agent.failure is not None
    assert agent.closed.is_set()


async def test_everything_pending_fails_when_the_guest_hangs_up() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    tasks = [asyncio.create_task(agent.request("ping")) for _ in range(MAX_OPEN + 5)]
    await guest.until(lambda: len(guest.requests()) == MAX_OPEN)
    guest.hang_up()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, VmFailed) and result.reason == "agent-lost" for result in results)
    with pytest.raises(VmFailed):
        await agent.request("ping")


async def test_closing_fails_what_is_pending_and_may_be_repeated() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    task = asyncio.create_task(agent.request("ping"))
    await guest.until(lambda: bool(guest.requests()))
    await agent.close()
    await agent.close()
    with pytest.raises(VmFailed):
        await task
    await asyncio.wait_for(guest.gone.wait(), 10)


async def test_a_request_that_cannot_be_sent_is_the_callers_error_alone() -> None:
    guest = RawGuest()
    guest.script = answering({})
    agent = await guest.connect()
    with pytest.raises(InvalidArgument):
        await agent.request("container.create", {"config": "x" * frames.MAX_PAYLOAD})
    assert await agent.request("ping") == {}
    assert len(guest.requests()) == 1
    await agent.close()


async def test_request_numbers_never_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = RawGuest()
    guest.script = answering({})
    agent = await guest.connect()
    monkeypatch.setattr(requests, "_MAX_ID", 1)
    await agent.request("ping")
    with pytest.raises(VmFailed):
        await agent.request("ping")
    await agent.close()


async def test_an_event_handler_that_fails_does_not_hurt_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    guest = RawGuest()
    guest.script = answering({})

    def broken(event: Any) -> None:
        raise RuntimeError("a bug")

    agent = await guest.connect(broken)
    guest.event("container.oom", container="c")
    assert await agent.request("ping") == {}
    assert "a bug" in caplog.text
    await agent.close()


async def test_no_event_is_told_after_the_close() -> None:
    guest = RawGuest()
    events: list[Any] = []
    agent = await guest.connect(events.append)
    for _ in range(10):
        guest.event("container.oom", container="c")
    await agent.close()
    assert events == []
