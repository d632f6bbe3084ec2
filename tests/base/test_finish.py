# SPDX-License-Identifier: Apache-2.0
"""Cleaning up is not cut short."""

from __future__ import annotations

import asyncio

import pytest

from hypercell.base.finish import finish


async def test_whoever_is_cancelled_waits_for_the_end_of_the_work_however_often() -> None:
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    caller = asyncio.create_task(finish(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done.is_set()


async def test_the_result_and_the_error_are_the_works() -> None:
    async def seven() -> int:
        return 7

    async def fail() -> int:
        raise ValueError("why")

    assert await finish(seven()) == 7
    with pytest.raises(ValueError, match="why"):
        await finish(fail())
