# SPDX-License-Identifier: Apache-2.0
"""Work that blocks, done in a thread, with a cancellation that cannot pull files from under it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from hypercell.base.finish import finish

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call *work* in a worker thread. When cancelled, wait for it to return before the cancellation goes on, so that
    the caller's clean-up (closing a descriptor, say) never races with the thread."""
    return await finish(asyncio.to_thread(work, *args, **kwargs))


async def in_abortable_thread(abort: Callable[[], None], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `in_thread`, for work that takes as long as somebody else pleases: in a thread of its own, so that it keeps no
    other from the workers. When cancelled, *abort* is called first, and makes *work* fail soon."""
    own = ThreadPoolExecutor(1)
    try:
        return await finish(asyncio.get_running_loop().run_in_executor(own, partial(work, *args, **kwargs)), abort)
    finally:
        own.shutdown(wait=False)
