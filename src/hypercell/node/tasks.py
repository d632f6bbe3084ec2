# SPDX-License-Identifier: Apache-2.0
"""Tasks that belong to the node: none is forgotten, none dies in silence, and a client that goes away ends none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from hypercell.base.errors import Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)


class Tasks:
    def __init__(self) -> None:
        self._background: set[asyncio.Task[Any]] = set()
        self._verbs: set[asyncio.Task[Any]] = set()
        self.closing = False

    def spawn(self, work: Coroutine[Any, Any, T], name: str, finish: bool = False) -> asyncio.Task[T]:
        """Run *work* in the background until it ends or the node closes. Its error goes to the log.

        With *finish* the node, when it closes, gives it the time to end.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        (self._verbs if finish else self._background).add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        self._verbs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed: %r", task.get_name(), error, exc_info=error)

    async def complete(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Run *work* to its end even if the caller is cancelled: what it began it must finish or undo."""
        if self.closing:
            work.close()
            raise Unavailable("the daemon is shutting down", "try again when it is back")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._verbs.add(task)
        task.add_done_callback(self._verbs.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # Nobody will fetch its error any more.
            task.add_done_callback(_note)
            raise

    async def close(self, grace: float) -> None:
        """Let verbs end for *grace* seconds, then cancel all that runs."""
        self.closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._verbs:  # the end of one may begin another
                    await asyncio.wait(self._verbs)
        left = [*self._verbs, *self._background]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _note(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("%s failed after its caller had gone: %s", task.get_name(), error)


async def together(*works: Awaitable[Any]) -> list[Any]:
    """Await all. On an error the others are cancelled, and the error comes out when none runs any more."""
    futures = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*futures)
    except BaseException:
        for future in futures:
            future.cancel()
        await asyncio.gather(*futures, return_exceptions=True)
        raise
