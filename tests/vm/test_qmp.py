# SPDX-License-Identifier: Apache-2.0
"""The control socket, with a hypervisor at its other end that says anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.errors import Internal, Unavailable
from hypercell.vm import qmp
from hypercell.vm.qmp import LIMIT, Message, ProtocolError, Qmp, parse

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


class Hypervisor:
    """The other end."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def open(self) -> Hypervisor:
        ours, theirs = socket.socketpair()
        self.reader, self.writer = await asyncio.open_unix_connection(sock=theirs)
        streams = await asyncio.open_unix_connection(sock=ours, limit=LIMIT)
        self.qmp = Qmp(streams, lambda name, data: self.events.append((name, data)))
        return self

    async def answer(self, *extra: bytes) -> dict[str, Any]:
        """Read one command, and say *extra* lines before its answer."""
        command: dict[str, Any] = json.loads(await self.reader.readline())
        for line in extra:
            self.writer.write(line + b"\n")
        self.writer.write(json.dumps({"return": {}, "id": command["id"]}).encode() + b"\n")
        return command

    async def greet(self) -> None:
        self.writer.write(GREETING)
        starting = asyncio.create_task(self.qmp.start(5))
        assert (await self.answer())["execute"] == "qmp_capabilities"
        await starting


@pytest.fixture
async def other() -> AsyncIterator[Hypervisor]:
    hypervisor = await Hypervisor().open()
    yield hypervisor
    await hypervisor.qmp.close()
    hypervisor.writer.close()


async def test_answers_find_their_commands_whatever_comes_between(other: Hypervisor) -> None:
    await other.greet()
    asking = asyncio.create_task(other.qmp.execute("stop"))
    noise = (b'{"return": 1, "id": -1}', b'{"return": 2}', b'{"event": "STOP"}', b'{"error": {}, "id": "x"}')
    assert (await other.answer(*noise))["execute"] == "stop"
    assert await asking == {}
    assert other.events == [("STOP", {})]


async def test_no_two_commands_have_one_number_whatever_connection_they_go_by(other: Hypervisor) -> None:
    """A VM that was forked answers, on its own connection, what its template was told."""
    template = await Hypervisor().open()
    forking = template.qmp.begin("x-fork")
    other.writer.write(json.dumps({"return": {"pid": 1}, "id": forking.ident}).encode() + b"\n")
    asking = [other.qmp.begin("qom-set") for _ in range(3)]
    assert forking.ident not in {answer.ident for answer in asking}
    for _ in asking:
        command = json.loads(await other.reader.readline())
        other.writer.write(json.dumps({"error": {"desc": "no"}, "id": command["id"]}).encode() + b"\n")
    for answer in asking:
        with pytest.raises(Internal):
            await other.qmp.answers([answer])
    await template.qmp.close()
    template.writer.close()


async def test_a_refusal_is_an_error_with_the_hypervisors_words(other: Hypervisor) -> None:
    await other.greet()
    asking = asyncio.create_task(other.qmp.execute("bogus", path="/x"))
    command = json.loads(await other.reader.readline())
    assert command["arguments"] == {"path": "/x"}
    refusal = {"error": {"class": "CommandNotFound", "desc": "no such command"}, "id": command["id"]}
    other.writer.write(json.dumps(refusal).encode() + b"\n")
    with pytest.raises(Internal, match="no such command"):
        await asking


async def test_a_descriptor_arrives_with_its_command_and_stays_ours(other: Hypervisor, tmp_path: Path) -> None:
    await other.greet()
    other.reader._transport.pause_reading()  # type: ignore[attr-defined]
    file = (tmp_path / "file").open("wb")
    before = len(list(Path("/proc/self/fd").iterdir()))
    begun = other.qmp.begin("getfd", {"fdname": "x"}, file.fileno())
    with socket.socket(fileno=os.dup(other.writer.get_extra_info("socket").fileno())) as raw:
        data, passed, _, _ = socket.recv_fds(raw, 4096, 4)
    assert json.loads(data) == {"execute": "getfd", "arguments": {"fdname": "x"}, "id": begun.ident}
    assert [Path(f"/proc/self/fd/{number}").readlink() for number in passed] == [tmp_path / "file"]
    for number in passed:
        os.close(number)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    file.close()


async def test_many_commands_are_begun_at_once_and_the_first_error_is_told(other: Hypervisor) -> None:
    await other.greet()
    begun = [other.qmp.begin(name) for name in ("one", "two", "three")]
    assert [json.loads(await other.reader.readline())["execute"] for _ in begun] == ["one", "two", "three"]
    for answer, line in zip(begun, ({"return": 1}, {"error": {"desc": "no two"}}, {"error": {}}), strict=True):
        other.writer.write(json.dumps({**line, "id": answer.ident}).encode() + b"\n")
    with pytest.raises(Internal, match="no two"):
        await other.qmp.answers(begun)


async def test_an_event_is_waited_for_as_an_answer_is(other: Hypervisor) -> None:
    await other.greet()
    expected = other.qmp.expect("RESUME")
    other.writer.write(b'{"event": "STOP"}\n{"event": "RESUME"}\n')
    await other.qmp.answers([expected], 5)
    lost = other.qmp.expect("RESUME")
    other.writer.close()
    with pytest.raises(Unavailable):
        await other.qmp.answers([lost], 5)


async def test_silence_ends_in_time(other: Hypervisor) -> None:
    with pytest.raises(Unavailable):
        await other.qmp.start(0.05)
    await other.greet()
    with pytest.raises(Unavailable):
        await other.qmp.execute("stop", timeout=0.05)


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        b"[]\n",
        b"{}\n",
        b'{"event": 1}\n',
        b'{"event": "X", "data": []}\n',
        b"[" * 100_000 + b"\n",
        b'{"event": "' + b"x" * (2 * LIMIT) + b'"}\n',
        b"\xff\xfe\n",
        b"1e999\n",
        b'{"QMP": 1}\n',
    ],
)
async def test_what_is_no_message_ends_the_connection_and_nothing_else(other: Hypervisor, garbage: bytes) -> None:
    await other.greet()
    asking = asyncio.create_task(other.qmp.execute("stop"))
    await other.reader.readline()
    other.writer.write(garbage)
    with pytest.raises(Unavailable):
        await asking
    await other.qmp.ended()
    with pytest.raises(Unavailable):
        await other.qmp.execute("cont")


async def test_who_waits_learns_that_the_other_end_is_gone(other: Hypervisor) -> None:
    await other.greet()
    asking = asyncio.create_task(other.qmp.execute("stop"))
    await other.reader.readline()
    other.writer.close()
    with pytest.raises(Unavailable):
        await asking


async def test_a_flood_of_events_is_taken_slowly(other: Hypervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(qmp.asyncio, "sleep", sleep)
    other.writer.write(GREETING + b'{"event": "X"}\n' * (3 * qmp.EVENTS_PER_SECOND))
    other.writer.close()
    await other.qmp.ended()
    assert len(other.events) == 3 * qmp.EVENTS_PER_SECOND
    assert slept
    assert all(0 < seconds <= 1 for seconds in slept)


names = st.sampled_from(["QMP", "event", "data", "id", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner),
    max_leaves=8,
)
keys = st.sampled_from(["QMP", "event", "data", "return", "error", "id", "desc"])


@given(st.dictionaries(keys, json_values) | json_values)
def test_any_json_is_a_message_or_refused(value: object) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(parse(json.dumps(value).encode()), Message)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(line: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(parse(line), Message)
