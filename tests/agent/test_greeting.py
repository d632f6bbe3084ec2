# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import socket
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.agent import client, connect, frames
from hypercell.agent.frames import HEADER, SYNC
from hypercell.agent.greeting import MAX_WELCOME, Greeting
from hypercell.base.errors import VmFailed
from tests.agent.raw import BOOT_ID, WELCOME, RawGuest, answering, payload, turns


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "HELLO_AGAIN", 0.01)
    monkeypatch.setattr(client, "FLUSH_AFTER", 0.01)


def welcome_frame(nonce: str) -> bytes:
    return frames.encode(frames.WELCOME, 0, payload({**WELCOME, "nonce": nonce}))


async def test_the_guest_that_greets_is_known_and_answers() -> None:
    guest = RawGuest()
    guest.script = answering({})
    agent = await guest.connect()
    assert agent.welcome.boot_id == BOOT_ID
    assert agent.welcome.fresh
    assert await agent.request("ping") == {}
    await agent.close()


async def test_each_connection_has_a_nonce_of_its_own() -> None:
    guest = RawGuest()
    await (await guest.connect()).close()
    await (await guest.connect()).close()
    nonces = [hello["nonce"] for hello in guest.hellos]
    assert len(set(nonces)) == 2
    assert all(len(nonce) == 32 for nonce in nonces)


async def test_a_guest_in_the_middle_of_an_old_frame_is_found_again() -> None:
    guest = RawGuest()

    async def open_again() -> Any:
        opened = await guest.open()
        guest.data_received(HEADER.pack(frames.MAX_PAYLOAD, frames.REQUEST, 0, 0, 9, 0) + b"half")
        guest.data_received(SYNC)
        guest.data_received(HEADER.pack(frames.MAX_PAYLOAD, frames.REQUEST, 0, 0, 9, 0) + b"half")
        return opened

    agent = await connect(open_again, lambda event: None, 10)
    assert agent.welcome.boot_id == BOOT_ID
    assert len(guest.hellos) == 1
    await agent.close()


async def test_an_answer_to_an_earlier_hello_that_comes_twice_is_no_error() -> None:
    guest = RawGuest()
    waiting: list[dict[str, Any]] = []

    def later(guest: RawGuest, hello: dict[str, Any]) -> None:
        waiting.append(hello)
        if len(waiting) == 2:
            for each in waiting:
                guest.welcome(each)

    guest.answer = later
    guest.script = answering({})
    agent = await guest.connect()
    assert await agent.request("ping") == {}
    assert agent.failure is None
    await agent.close()


async def test_a_greeting_that_nobody_asked_for_ends_the_connection() -> None:
    guest = RawGuest()
    agent = await guest.connect()
    guest.welcome(guest.hellos[0])
    await asyncio.wait_for(agent.closed.wait(), 10)
    assert agent.failure is not None
    assert "greeting" in agent.failure


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=100),
            st.just(SYNC),
            st.just(SYNC + welcome_frame("f" * 32)),
            st.just(SYNC + HEADER.pack(MAX_WELCOME, frames.WELCOME, 0, 0, 0, 0)),
            st.just(SYNC + HEADER.pack(MAX_WELCOME + 1, frames.WELCOME, 0, 0, 0, 0)),
            st.just(SYNC[:7]),
        ),
        max_size=30,
    ),
    st.lists(st.integers(0, 10**5), max_size=20),
)
def test_the_welcome_is_found_behind_any_stale_bytes(stale: list[bytes], cuts: list[int]) -> None:
    greeting = Greeting()
    data = b"".join(stale) + SYNC + welcome_frame(greeting.nonce) + b"rest"
    places = sorted({cut % len(data) for cut in cuts} | {0, len(data)})
    found, behind = None, b""
    for a, b in pairwise(places):
        if found is None:
            answer = greeting.feed(data[a:b])
            if answer is not None:
                found, behind = answer[0], answer[1] + data[b:]
    assert found is not None
    assert found.boot_id == BOOT_ID
    assert behind == b"rest"


@given(st.lists(st.binary(max_size=3000) | st.just(SYNC + HEADER.pack(4000, 2, 0, 0, 0, 0)), max_size=50))
def test_looking_for_a_welcome_holds_little(chunks: list[bytes]) -> None:
    greeting = Greeting()
    for chunk in chunks:
        assert greeting.feed(chunk) is None
        assert len(greeting._held) <= MAX_WELCOME + 2 * HEADER.size + 3000


async def test_a_guest_that_never_answers_fails_the_boot() -> None:
    guest = RawGuest()
    guest.answer = lambda guest, hello: None
    with pytest.raises(VmFailed) as caught:
        await guest.connect(timeout=0.1)
    assert caught.value.reason == "boot-failed"
    assert caught.value.hint
    await asyncio.wait_for(guest.gone.wait(), 10)


async def test_nothing_more_is_written_while_the_guest_has_not_taken_the_hello() -> None:
    """A guest that boots for seconds must not find megabytes of zeros in front of the first request."""
    host, guest = socket.socketpair()
    with guest:
        with pytest.raises(VmFailed):
            await connect(lambda: asyncio.open_unix_connection(sock=host), lambda event: None, 0.2)
        await turns()
        guest.settimeout(10)
        data = b""
        while chunk := guest.recv(65536):
            data += chunk
    assert data.startswith(SYNC)
    assert len(data) < 1000


async def test_a_guest_that_took_the_hello_and_is_silent_gets_the_zeros() -> None:
    guest = RawGuest()
    sizes: list[int] = []

    def answer(guest: RawGuest, hello: dict[str, Any]) -> None:
        sizes.append(guest.bytes_received)
        if len(sizes) == 4:
            guest.welcome(hello)

    guest.answer = answer
    agent = await guest.connect()
    assert sizes[1] < 1000
    assert sizes[2] > frames.FLUSH
    assert sizes[3] > 2 * frames.FLUSH
    await agent.close()


async def test_a_channel_that_opens_late_or_breaks_is_opened_again() -> None:
    guest = RawGuest()
    tries = 0

    async def opener() -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise FileNotFoundError("no socket yet")
        if tries == 2:
            raise ConnectionRefusedError
        opened = await guest.open()
        if tries == 3:
            guest.hang_up()
            await turns()
        elif tries == 4:
            guest.answer = lambda guest, hello: guest.hang_up()
        else:
            guest.answer = lambda guest, hello: guest.welcome(hello)
        return opened

    agent = await connect(opener, lambda event: None, 30)
    assert tries == 5
    await agent.close()


async def test_a_channel_that_never_opens_fails_with_its_reason() -> None:
    async def opener() -> Any:
        raise ConnectionRefusedError("nobody listens")

    with pytest.raises(VmFailed, match="nobody listens"):
        await connect(opener, lambda event: None, 0.05)


async def test_an_opener_that_hangs_is_given_up() -> None:
    async def opener() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(VmFailed) as caught:
        await connect(opener, lambda event: None, 0.05)
    assert caught.value.reason == "boot-failed"


async def test_a_vm_that_is_gone_is_not_waited_for() -> None:
    tries = 0

    async def opener() -> Any:
        nonlocal tries
        tries += 1
        raise VmFailed("it ended", "guest-panic")

    with pytest.raises(VmFailed) as caught:
        await connect(opener, lambda event: None, 30)
    assert caught.value.reason == "guest-panic"
    assert tries == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda guest, hello: guest.welcome(hello, version=2), "version 2"),
        (lambda guest, hello: guest.welcome(hello, kernel="\x1b[31m"), "kernel"),
        (
            lambda guest, hello: guest.send(
                SYNC, frames.encode(frames.ERROR, 0, payload({"code": "unsupported", "message": "speaks 7"}))
            ),
            "speaks 7",
        ),
    ],
)
async def test_an_answer_that_asking_again_cannot_mend_fails_at_once(answer: Any, words: str) -> None:
    guest = RawGuest()
    guest.answer = answer
    with pytest.raises(VmFailed, match=words) as caught:
        await guest.connect(timeout=60)
    assert caught.value.reason == "boot-failed"
    assert len(guest.hellos) <= 2


async def test_a_welcome_with_a_foreign_nonce_is_no_answer() -> None:
    guest = RawGuest()
    guest.answer = lambda guest, hello: guest.welcome({"nonce": "0" * 32})
    with pytest.raises(VmFailed):
        await guest.connect(timeout=0.1)


async def test_a_cancelled_connect_closes_the_channel() -> None:
    guest = RawGuest()
    guest.answer = lambda guest, hello: None
    task = asyncio.create_task(guest.connect())
    await guest.until(lambda: bool(guest.hellos))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(guest.gone.wait(), 10)


async def test_what_comes_right_behind_the_welcome_is_not_lost() -> None:
    guest = RawGuest()
    events: list[Any] = []

    def answer(guest: RawGuest, hello: dict[str, Any]) -> None:
        welcome = frames.encode(frames.WELCOME, 0, payload({**WELCOME, "nonce": hello["nonce"]}))
        oom = frames.encode(frames.EVENT, 0, json.dumps({"event": "container.oom", "container": "c"}).encode())
        guest.send(b"stale" + SYNC + welcome + oom)

    guest.answer = answer
    agent = await guest.connect(events.append)
    assert events == [{"event": "container.oom", "container": "c"}]
    await agent.close()
