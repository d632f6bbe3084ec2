# SPDX-License-Identifier: Apache-2.0
"""Work that is carried to its end, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def finish(work: Awaitable[T], abort: Callable[[], None] = lambda: None) -> T:
    """The result of *work*. A caller that is cancelled waits for it all the same, and is cancelled then; *abort* is
    called first, and may make it end soon.

    `asyncio.shield` lets the work go on as well, but nobody waits for it: when the loop ends it is cut short.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            if cancelled is None:
                abort()
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # it is looked at: nobody else will
        raise cancelled
    return task.result()
