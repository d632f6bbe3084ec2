# SPDX-License-Identifier: Apache-2.0
"""A build's containers go with their step, whenever it is called off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hypercell.base.errors import Conflict
from hypercell.engines.build.containers import BuildContainers
from hypercell.engines.build.contract import BuildRequest


class Slow:
    """Makes a container only when it is told to."""

    def __init__(self) -> None:
        self.asked, self.go, self.made = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.there: set[str] = set()
        self.fails = False

    async def create(self, tenant: str, request: Any) -> tuple[str, list[str]]:
        self.asked.set()
        await self.go.wait()
        if self.fails:
            raise Conflict("no")
        self.there.add("c")
        self.made.set()
        return "c", []

    async def remove(self, tenant: str, ref: str, force: bool = False, volumes: bool = False) -> None:
        assert force and volumes
        await asyncio.sleep(0)
        self.there.remove(ref)


def own(containers: Slow) -> BuildContainers:
    return BuildContainers(containers, "t", BuildRequest())  # type: ignore[arg-type]


async def use(containers: Slow, forever: bool) -> None:
    async with own(containers).create("image"):
        assert containers.there
        if forever:
            await asyncio.Event().wait()


@pytest.mark.parametrize("fails", [False, True])
async def test_one_that_is_being_made_when_the_build_is_called_off_is_removed(fails: bool) -> None:
    containers = Slow()
    containers.fails = fails
    using = asyncio.ensure_future(use(containers, forever=False))
    await containers.asked.wait()
    using.cancel()
    await asyncio.sleep(0)
    containers.go.set()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert containers.there == set()


async def test_one_that_is_used_when_the_build_is_called_off_is_removed() -> None:
    containers = Slow()
    containers.go.set()
    using = asyncio.ensure_future(use(containers, forever=True))
    await containers.made.wait()
    await asyncio.sleep(0)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert containers.there == set()
