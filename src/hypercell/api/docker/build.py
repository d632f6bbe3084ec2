# SPDX-License-Identifier: Apache-2.0
"""`POST /build`: what docker's CLI without BuildKit and the libraries send, and the answer as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from hypercell.api.docker.build_request import parse_build
from hypercell.api.docker.engine import Call
from hypercell.api.docker.image_events import publish
from hypercell.api.docker.progress import Json, error_json, progress_json
from hypercell.api.http import StreamResponse, encode
from hypercell.base.errors import HypercellError
from hypercell.engines.build import BuildFailed
from hypercell.images.contract import Progress

_WAITING = 256
"""Lines that wait for a slow client; then the build waits."""
_PIECE = 16 * 1024
"""Characters of one line of the answer."""


async def build_image(call: Call) -> StreamResponse:
    engine = call.app
    request = parse_build(call)
    told = _Told(request.quiet)

    async def work() -> None:
        image_id = await engine.builds.build(engine.tenant, request, call.body.chunks(), told)
        image = await engine.images.get(engine.tenant, image_id)
        for repository, tag in request.tags:
            publish(engine, "tag", f"{repository}:{tag or 'latest'}", image)
        if request.quiet:
            await told.put({"stream": f"{image_id}\n"})

    return await _answer(told, asyncio.ensure_future(work()))


class _Told:
    """Implements `engines.build.Progress`: lines of JSON on their way to a client."""

    def __init__(self, quiet: bool) -> None:
        self.lines: asyncio.Queue[Json] = asyncio.Queue(_WAITING)
        self._quiet = quiet
        self.unsaid: list[str] = []
        """What a quiet build has said, its beginning at least: an error is told with it."""

    async def put(self, line: Json) -> None:
        await self.lines.put(line)

    async def say(self, text: str) -> None:
        await self._stream(text, "", "")

    async def complain(self, text: str) -> None:
        # Red, as dockerd shows it.
        await self._stream(text, "\x1b[91m", "\x1b[0m")

    async def _stream(self, text: str, before: str, behind: str) -> None:
        for start in range(0, len(text), _PIECE):
            piece = text[start : start + _PIECE]
            if self._quiet:
                if len(self.unsaid) < _WAITING:
                    self.unsaid.append(piece)
            else:
                await self.put({"stream": f"{before}{piece}{behind}"})

    async def made(self, image_id: str) -> None:
        if not self._quiet:
            await self.put({"aux": {"ID": image_id}})

    def pulling(self, step: Progress) -> None:
        """A client that reads slowly skips some of a pull's progress."""
        if not self._quiet and self.lines.qsize() < _WAITING // 2:
            self.lines.put_nowait(progress_json(step))


async def _answer(told: _Told, task: asyncio.Future[None]) -> StreamResponse:
    """Raises what the build raises before it has said anything."""
    first = asyncio.ensure_future(told.lines.get())
    try:
        await _either(task, first)
        if not first.done():
            first.cancel()
            await task
    except BaseException:
        first.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    return StreamResponse(_follow(told, task, first), content_type="application/json")


async def _follow(told: _Told, task: asyncio.Future[None], first: asyncio.Future[Json]) -> AsyncIterator[bytes]:
    try:
        following: asyncio.Future[Json] = first
        while True:
            await _either(task, following)
            if not following.done():
                break
            yield encode(await following)
            following = asyncio.ensure_future(told.lines.get())
        following.cancel()
        try:
            await task
        except HypercellError as error:
            yield encode(_error(error, told))
    finally:
        # Whoever called it off waits until nothing of it is left.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _either(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> None:
    await asyncio.wait({one, other}, return_when=asyncio.FIRST_COMPLETED)


def _error(error: HypercellError, told: _Told) -> Json:
    line: dict[str, Any] = error_json(error)
    if told.unsaid:
        text = "".join(told.unsaid) + line["error"]
        line = {"errorDetail": {"message": text}, "error": text}
    if isinstance(error, BuildFailed):
        line["errorDetail"]["code"] = error.code
    return line
