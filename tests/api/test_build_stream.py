# SPDX-License-Identifier: Apache-2.0
"""What a build says on its way to a client: all of it, in order, and no more than a slow one can take."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable

import pytest

from hypercell.api.docker import build
from hypercell.api.docker.build import _answer, _Told
from hypercell.base.errors import InvalidArgument
from hypercell.engines.build import BuildFailed
from hypercell.images.contract import Progress

Work = Callable[[_Told], Awaitable[None]]


async def lines(work: Work, quiet: bool = False) -> list[dict[str, object]]:
    told = _Told(quiet)
    reply = await _answer(told, asyncio.ensure_future(work(told)))  # type: ignore[arg-type]
    return [json.loads(chunk) async for chunk in reply.body]


async def test_the_last_words_are_told_too() -> None:
    async def work(told: _Told) -> None:
        for number in range(10):
            await told.say(f"{number}\n")

    assert [line["stream"] for line in await lines(work)] == [f"{number}\n" for number in range(10)]


async def test_a_failure_is_told_behind_what_was_said_with_its_code() -> None:
    async def work(told: _Told) -> None:
        await told.say("a")
        await told.complain("b")
        await told.made("sha256:c")
        raise BuildFailed("no", 7)

    assert await lines(work) == [
        {"stream": "a"},
        {"stream": "\x1b[91mb\x1b[0m"},
        {"aux": {"ID": "sha256:c"}},
        {"errorDetail": {"message": "no", "code": 7}, "error": "no"},
    ]


async def test_a_failure_before_the_first_word_is_an_ordinary_answer() -> None:
    async def work(told: _Told) -> None:
        raise InvalidArgument("wrong")

    with pytest.raises(InvalidArgument):
        await lines(work)


async def test_a_quiet_build_speaks_up_when_it_fails() -> None:
    async def work(told: _Told) -> None:
        await told.say("said")
        await told.made("sha256:c")
        await told.speak_up()
        raise BuildFailed("no", 7)

    assert [line.get("stream") or line["error"] for line in await lines(work, quiet=True)] == ["said", "no"]


async def test_a_client_that_reads_nothing_stops_the_build_and_one_that_goes_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "_WAITING", 4)
    said, ended = 0, asyncio.Event()

    async def work(told: _Told) -> None:
        nonlocal said
        try:
            while True:
                told.pulling(Progress("Downloading", "a", 1, 2))
                await told.say("x")
                said += 1
        finally:
            ended.set()

    told = _Told(quiet=False)
    reply = await _answer(told, asyncio.ensure_future(work(told)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert said <= 4
    content = reply.body
    await anext(content)
    with contextlib.suppress(RuntimeError):
        await content.aclose()  # type: ignore[attr-defined]
    assert ended.is_set()
