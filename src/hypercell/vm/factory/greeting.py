# SPDX-License-Identifier: Apache-2.0
"""The greeting of a clone, which is bounded, and over as soon as its VM is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypercell.agent.contract import Agent, Connect
from hypercell.base.errors import VmFailed
from hypercell.vm.driver import Vm
from hypercell.vm.factory.ways import Json


class Listener:
    """Whom the agent of a pooled VM tells its events: nobody, until somebody has claimed it."""

    def __init__(self) -> None:
        self.target: Callable[[Json], None] = _ignore

    def __call__(self, event: Json) -> None:
        self.target(event)


async def greet(vm: Vm, connect: Connect, on_event: Callable[[Json], None], timeout: float) -> Agent:
    """The agent of *vm*. Raises `VmFailed` when it does not answer in *timeout* seconds, or its VM ends."""
    connecting = asyncio.ensure_future(connect(vm.connect_agent, on_event, timeout))
    ended = asyncio.ensure_future(vm.wait())
    try:
        await asyncio.wait({connecting, ended}, return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            return connecting.result()
        end = ended.result()
        raise VmFailed(f"the VM ended before it greeted: {end.detail or end.reason}", end.reason.value)
    finally:
        for task in (connecting, ended):
            task.cancel()
        await asyncio.gather(connecting, ended, return_exceptions=True)


def _ignore(event: Json) -> None:
    pass
