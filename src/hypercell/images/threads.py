# SPDX-License-Identifier: Apache-2.0
"""Work that blocks, done in a thread, with a cancellation that cannot pull files from under it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call *work* in a worker thread. When cancelled, wait for it to return before the cancellation goes on, so that
    the caller's clean-up (closing a descriptor, say) never races with the thread."""
    return await in_abortable_thread(lambda: None, work, *args, **kwargs)


async def in_abortable_thread(abort: Callable[[], None], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `in_thread`; *abort* is called first, and makes *work* fail soon."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        abort()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
