# SPDX-License-Identifier: Apache-2.0
"""What keeps the pool as full as demand wants and memory bears: one VM after the other, while nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from hypercell.agent.contract import Agent, Connect
from hypercell.base.config import Config
from hypercell.base.crash import crash_point
from hypercell.base.errors import HypercellError, VmFailed
from hypercell.base.finish import finish
from hypercell.base.ids import new_id
from hypercell.base.sizes import MIB
from hypercell.vm import shapes
from hypercell.vm.driver import DEVICE_MAC, Driver, Nic, Template, Vm, VmSpec
from hypercell.vm.factory import memory
from hypercell.vm.factory.demand import Demand
from hypercell.vm.factory.greeting import Listener, greet
from hypercell.vm.factory.pool import Pool, Pooled
from hypercell.vm.factory.priority import to_background
from hypercell.vm.factory.templates import Templates
from hypercell.vm.factory.warming import Sample, disks_of, warm
from hypercell.vm.factory.ways import NotThisWay, SpareTap

log = logging.getLogger(__name__)

QUIET = 0.01
"""Seconds without a start under way before anything is made ready. What is made ready then stands back for a start by
its priority; only the daemon's own share of the work does not."""
LOOK = 5.0
"""Seconds between two looks at demand and memory while nothing happens."""
_PAUSE = 5.0
"""Seconds after a failure."""
_WEIGHED = 16
"""Of the clones of each shape every so many-th is weighed, the first one included."""


class Filler:
    def __init__(
        self,
        config: Config,
        driver: Driver,
        connect: Connect,
        spare: Callable[[], Awaitable[SpareTap]],
        sample: Sample | None,
        pool: Pool,
        templates: Templates,
        demand: Demand,
    ) -> None:
        self._budget = config.pool_memory * MIB
        self._timeout = config.boot_timeout
        self._driver = driver
        self._connect = connect
        self._spare = spare
        self._sample = None if driver.capabilities.warm_clones else sample
        self._pool = pool
        self._templates = templates
        self._demand = demand
        self._starts = 0
        self._quiet_at = 0.0
        self._wake = asyncio.Event()
        self._made: Counter[str] = Counter()
        self._weights: dict[str, int] = {}
        """Bytes that the last one of a shape cost which was weighed."""
        self._task: asyncio.Task[None] | None = None
        self._burials: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._tend(), name="pool")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Begin nothing new meanwhile, nor a moment later."""
        self._starts += 1
        try:
            yield
        finally:
            self._starts -= 1
            loop = asyncio.get_running_loop()
            self._quiet_at = loop.time() + QUIET
            if self._budget:  # else nothing is to be made ready, and templates can wait for the next look
                loop.call_at(self._quiet_at, self._wake.set)

    def bury(self, pooled: Pooled) -> None:
        """End one that was taken out of the pool, in the background."""
        task = asyncio.create_task(self._end(pooled), name=f"end of {pooled.vm.id[:12]}")
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def give_up(self, wanted: int) -> int:
        """End waiting VMs until *wanted* bytes are free that were not; how many there are."""
        freed = 0
        while freed < wanted and len(self._pool):
            freed += await self._give_up_one()
        return freed

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for pooled in self._pool.take_all():
            self.bury(pooled)
        await asyncio.gather(*self._burials, return_exceptions=True)

    # The loop

    async def _tend(self) -> None:
        while True:
            try:
                pause = await self._step()
            except (HypercellError, OSError, TimeoutError) as error:
                log.warning("no VM could be made ready: %s", error)
                pause = _PAUSE
            except Exception:
                log.exception("the pool is in trouble")
                pause = _PAUSE
            self._wake.clear()
            if pause:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()

    async def _step(self) -> float:
        """Do the one thing that is most needed; the seconds until it is worth while to look again."""
        for dead in self._pool.take_dead():
            log.warning("the waiting VM %s has ended by itself: %s", dead.vm.id[:12], dead.agent.failure)
            self.bury(dead)
        wanted = self._demand.wanted() if self._budget else {}
        self._templates.drop_unused(set(wanted))
        if memory.available() < memory.reserve():
            return await self._relieve()
        if await self._shrink(wanted):
            return 0.0
        if self._starts:
            return LOOK
        left = self._quiet_at - asyncio.get_running_loop().time()
        if left > 0:
            return left
        for key, (spec, count) in wanted.items():
            if self._pool.count(key) < count and not self._templates.failing(key) and self._room():
                await self._add(key, spec)
                return 0.0
        return LOOK

    def _room(self) -> bool:
        cost = self._pool.typical_cost
        return self._pool.bytes + cost <= self._budget and memory.available() - cost > memory.reserve()

    async def _relieve(self) -> float:
        """Memory is short. What waits goes first, then the templates that nobody uses."""
        if len(self._pool):
            log.info("memory is short: a waiting VM is given up")
            await self._give_up_one()
            return 0.0
        return 0.0 if self._templates.drop_unused(set(), all_of_them=True) else LOOK

    async def _give_up_one(self) -> int:
        """Of the shape that has most."""
        shapes = self._pool.shapes()
        pooled = self._pool.take_oldest(max(shapes, key=lambda key: shapes[key]))
        await self._end(pooled)
        return pooled.cost

    async def _shrink(self, wanted: dict[str, tuple[VmSpec, int]]) -> bool:
        """End one that is more than is wanted; whether there was one."""
        for key, count in self._pool.shapes().items():
            if count > (wanted[key][1] if key in wanted else 0):
                await self._end(self._pool.take_oldest(key))
                return True
        return False

    # Making one

    async def _add(self, key: str, spec: VmSpec) -> None:
        if not await self._templates.ensure(key, spec):
            return
        try:
            with self._templates.lease(key, spec) as template:
                pooled = await self._make(key, spec, template)
        except NotThisWay:
            return
        if self._templates.trusted(key, template):
            self._pool.add(pooled)
        else:  # it was dropped while this one was made of it
            self.bury(pooled)

    async def _make(self, key: str, spec: VmSpec, template: Template) -> Pooled:
        ident = new_id()
        listener = Listener()
        async with disks_of(self._sample, ident) as disks:  # before there is a tap, which nobody would close
            tap = await self._spare()
            nic = Nic(tap.descriptor, DEVICE_MAC)
            bare = replace(shapes.bare(spec), id=ident, disks=disks, nic=nic, template=template)
            crash_point("pool-begin")
            vm = await self._driver.launch(bare)
        agent: Agent | None = None
        try:
            if self._driver.capabilities.real:
                to_background(vm.pid)
            try:
                agent = await greet(vm, self._connect, listener, self._timeout)
            except VmFailed as error:
                if error.reason != "boot-failed":  # which may be the want of CPU time
                    self._templates.distrust(key, f"a clone did not come up ({error})")
                raise
            if self._sample is not None:
                await warm(agent, listener, vm.device_mac, self._sample)
            cost = await self._weigh(key, vm)
        except BaseException:
            if agent is not None:
                await agent.close()
            await finish(self._driver.discard(ident))
            raise
        crash_point("pool-warm")
        return Pooled(vm, agent, listener, tap.name, key, cost)

    async def _weigh(self, key: str, vm: Vm) -> int:
        """What it costs the host, in bytes; what it shares is its template's. Clones of one shape cost alike, and the
        kernel takes longer to tell than we take for much of the rest."""
        if self._made[key] % _WEIGHED == 0:
            self._weights[key] = (await vm.host_usage()).own_bytes
        self._made[key] += 1
        return self._weights[key]

    async def _end(self, pooled: Pooled) -> None:
        try:
            await pooled.agent.close()
            await self._driver.discard(pooled.vm.id)
        except Exception:  # the next start of the daemon sweeps what is left
            log.exception("the waiting VM %s is left over", pooled.vm.id[:12])
