# SPDX-License-Identifier: Apache-2.0
"""What is left of containers that are gone for their owners: VM, port and directory, removed behind everybody's back.

The row of such a container is deleted, so a daemon that dies here leaves nothing undone: its successor removes what
belongs to no row. How many there are at once is bounded, as a VM holds its memory until it has ended: who removes
one more waits for a place (`enter`), and whoever launches VMs can see how many are still ending (`pending`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hypercell.base.crash import crash_point
from hypercell.node.network import Network
from hypercell.node.storage import Storage
from hypercell.node.tasks import Tasks

log = logging.getLogger(__name__)

MOST = 128
"""Teardowns at once. Killing is quick, memory is given back first, and the rest is waiting for the kernel."""


@dataclass(frozen=True, slots=True)
class _Leftover:
    container: str
    port: str


class Teardown:
    def __init__(self, network: Network, storage: Storage, tasks: Tasks, most: int = MOST) -> None:
        self.pending = 0
        """Removals under way, whether their callers still wait or not."""
        self._network, self._storage, self._tasks = network, storage, tasks
        self._places = asyncio.Semaphore(most)
        self._under_way: set[asyncio.Task[None]] = set()
        self._ended: list[_Leftover] = []
        self._sweeping = asyncio.Lock()

    async def enter(self) -> None:
        """Wait for a place, and take it: `begin` or `leave` it."""
        await self._places.acquire()
        self.pending += 1

    def leave(self) -> None:
        self.pending -= 1
        self._places.release()

    def begin(self, container_id: str, port_id: str, end_vm: Callable[[], Awaitable[bool]]) -> None:
        """Remove all that is left of a container whose row is gone, its VM by *end_vm*, which tells whether that is
        gone; *port_id* is empty if it has no place on the network. A node that closes gives it time to end."""
        work = self._tear_down(_Leftover(container_id, port_id), end_vm)
        task = self._tasks.spawn(work, f"teardown of {container_id[:12]}", finish=True)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def settled(self) -> bool:
        """Wait for those that have begun; whether there were any."""
        begun = list(self._under_way)
        if begun:
            await asyncio.wait(begun)
        return bool(begun)

    async def _tear_down(self, leftover: _Leftover, end_vm: Callable[[], Awaitable[bool]]) -> None:
        try:
            crash_point("remove-vm")
            if not await end_vm():
                # Its address and its disk are still in use. The next start of the daemon tries again.
                log.error("container %s was removed, but its VM is left over", leftover.container[:12])
                return
            self._ended.append(leftover)
            async with self._sweeping:
                ended, self._ended = self._ended, []
                if ended:  # else the turn of another has served it
                    await self._sweep(ended)
        finally:
            self.leave()

    async def _sweep(self, ended: list[_Leftover]) -> None:
        """All that ended during the last sweep: one change of the rules, one transaction, one thread."""
        crash_point("remove-port")
        try:
            await self._network.release(*(leftover.port for leftover in ended if leftover.port))
        except Exception:
            log.exception("the ports of %d removed containers are left over", len(ended))
        crash_point("remove-directory")
        try:
            await self._storage.remove(*(leftover.container for leftover in ended))
        except Exception:
            log.exception("of %d removed containers directories are left over", len(ended))
        crash_point("removed")
