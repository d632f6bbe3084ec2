# SPDX-License-Identifier: Apache-2.0
"""Progress of pulls, pushes and loads as JSON lines, and errors in the middle of such a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from hypercell.api.docker.errors import message
from hypercell.api.http import StreamResponse, encode
from hypercell.base.errors import HypercellError
from hypercell.images.contract import Progress, ProgressSink

Json = dict[str, Any]


def progress_json(step: Progress) -> Json:
    if step.pushed is not None:
        told = {"Tag": step.pushed.tag, "Digest": step.pushed.digest, "Size": step.pushed.size}
        return {"progressDetail": {}, "aux": told}
    line: Json = {"status": step.status}
    if step.total or step.current:
        detail = {"current": step.current, "total": step.total}
        line["progressDetail"] = {key: value for key, value in detail.items() if value}
    elif step.id and not step.status.startswith("Pulling from"):
        line["progressDetail"] = {}
    if step.id:
        line["id"] = step.id
    return line


def error_json(error: HypercellError) -> Json:
    """docker's way to fail after the head of the answer is out."""
    text = message(error)
    return {"errorDetail": {"message": text}, "error": text}


class ProgressLines:
    """Lines on their way to a client. One that reads slowly skips figures, never words: of the figures of one layer
    only the newest waits."""

    def __init__(self) -> None:
        self._waiting: dict[object, Json] = {}
        self._wakeup = asyncio.Event()

    def sink(self, step: Progress) -> None:
        self.put(progress_json(step), (step.status, step.id) if step.total else object())

    def put(self, line: Json, key: object | None = None) -> None:
        key = key or object()
        self._waiting.pop(key, None)
        self._waiting[key] = line
        self._wakeup.set()

    async def wait(self) -> None:
        """Return when there is a line, or `wake` was called."""
        await self._wakeup.wait()

    def wake(self) -> None:
        self._wakeup.set()

    def take(self) -> bytes:
        lines, self._waiting = self._waiting, {}
        self._wakeup.clear()
        return b"".join(encode(line) for line in lines.values())


async def with_progress(work: Callable[[ProgressSink], Awaitable[list[Json]]], at_once: bool = False) -> StreamResponse:
    """An answer that tells how *work* goes and ends with the lines it returns. Raises what *work* raises before its
    first line, unless the head of the answer must go out *at_once*."""
    lines = ProgressLines()
    task: asyncio.Future[list[Json]] = asyncio.ensure_future(work(lines.sink))
    task.add_done_callback(lambda _: lines.wake())
    try:
        if not at_once:
            await lines.wait()
            if task.done() and not task.cancelled() and task.exception() is not None:
                await task
    except BaseException:
        task.cancel()
        raise
    return StreamResponse(_follow(lines, task), content_type="application/json")


async def _follow(lines: ProgressLines, task: asyncio.Future[list[Json]]) -> AsyncIterator[bytes]:
    try:
        while not task.done():
            yield lines.take()
            if not task.done():
                await lines.wait()
        yield lines.take()
        try:
            last = await task
        except HypercellError as error:
            last = [error_json(error)]
        yield b"".join(encode(line) for line in last)
    finally:
        task.cancel()
