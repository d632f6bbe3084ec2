# SPDX-License-Identifier: Apache-2.0
"""Several transfers of one pull or push at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def all_of(work: list[Awaitable[None]]) -> None:
    """Await all; the first failure cancels the rest and comes out as it is."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
