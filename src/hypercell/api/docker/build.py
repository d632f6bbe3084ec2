# SPDX-License-Identifier: Apache-2.0
"""`POST /build`: what docker's CLI without BuildKit and the libraries send, and the answer as it goes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
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
        try:
            image_id = await engine.builds.build(engine.tenant, request, call.body.chunks(), told)
        except HypercellError:
            await told.speak_up()
            raise
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
        self.begun = asyncio.Event()
        self._quiet = quiet
        self._unsaid: deque[Json] = deque(maxlen=_WAITING)
        """The last that a quiet build has said: an error is told behind it."""

    async def put(self, line: Json) -> None:
        self.begun.set()
        await self.lines.put(line)

    def left(self, following: asyncio.Future[Json]) -> Iterator[Json]:
        """What was said last, when nothing more will be; *following* may have taken the first of it."""
        if not following.cancelled():
            yield following.result()
        while not self.lines.empty():
            yield self.lines.get_nowait()

    async def say(self, text: str) -> None:
        await self._stream(text, "", "")

    async def complain(self, text: str) -> None:
        # Red, as dockerd shows it.
        await self._stream(text, "\x1b[91m", "\x1b[0m")

    async def _stream(self, text: str, before: str, behind: str) -> None:
        for start in range(0, len(text), _PIECE):
            piece = text[start : start + _PIECE]
            line: Json = {"stream": f"{before}{piece}{behind}"}
            if self._quiet:
                self._unsaid.append(line)
            else:
                await self.put(line)

    async def speak_up(self) -> None:
        while self._unsaid:
            await self.put(self._unsaid.popleft())

    async def made(self, image_id: str) -> None:
        if not self._quiet:
            await self.put({"aux": {"ID": image_id}})

    def pulling(self, step: Progress) -> None:
        """A client that reads slowly skips some of a pull's progress."""
        if not self._quiet and self.lines.qsize() < _WAITING // 2:
            self.begun.set()
            self.lines.put_nowait(progress_json(step))


async def _answer(told: _Told, task: asyncio.Future[None]) -> StreamResponse:
    """Raises what the build raises before it has said anything."""
    begun = asyncio.ensure_future(told.begun.wait())
    try:
        await _either(task, begun)
        if not told.begun.is_set():
            await task
    except BaseException:
        await _call_off(task)
        raise
    finally:
        begun.cancel()
    return StreamResponse(_follow(told, task), content_type="application/json")


async def _follow(told: _Told, task: asyncio.Future[None]) -> AsyncIterator[bytes]:
    following = asyncio.ensure_future(told.lines.get())
    try:
        while True:
            await _either(task, following)
            if not following.done():
                break
            yield encode(following.result())
            following = asyncio.ensure_future(told.lines.get())
        await _call_off(following)
        for line in told.left(following):
            yield encode(line)
        try:
            await task
        except HypercellError as error:
            yield encode(_error(error))
    finally:
        await _call_off(following, task)


async def _either(one: asyncio.Future[Any], other: asyncio.Future[Any]) -> None:
    await asyncio.wait({one, other}, return_when=asyncio.FIRST_COMPLETED)


async def _call_off(*futures: asyncio.Future[Any]) -> None:
    """Returns when nothing of them goes on any more."""
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


def _error(error: HypercellError) -> Json:
    line: dict[str, Any] = error_json(error)
    if isinstance(error, BuildFailed):
        line["errorDetail"]["code"] = error.code
    return line
