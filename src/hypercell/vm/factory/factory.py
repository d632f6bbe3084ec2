# SPDX-License-Identifier: Apache-2.0
"""The factory of VMs: whoever wants one gets it the quickest way that is open, and is told which that was."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from hypercell.agent.contract import Agent, Connect
from hypercell.base.config import Config
from hypercell.base.crash import crash_point
from hypercell.base.errors import HypercellError, InvalidArgument, VmFailed
from hypercell.base.finish import finish
from hypercell.vm.driver import DEVICE_MAC, Driver, Nic, Vm, VmSpec
from hypercell.vm.factory.demand import Demand
from hypercell.vm.factory.filling import Filler
from hypercell.vm.factory.greeting import greet
from hypercell.vm.factory.pool import Pool, Pooled
from hypercell.vm.factory.priority import to_foreground
from hypercell.vm.factory.promises import Promise
from hypercell.vm.factory.templates import ZYGOTE, Templates
from hypercell.vm.factory.warming import Sample
from hypercell.vm.factory.ways import QUICKEST_FIRST, Client, Isolation, Launched, NotThisWay, SpareTap, Way

log = logging.getLogger(__name__)

_KEY_LASTS = 1.0
"""Seconds; making one looks at several files."""
_PATIENCE = 1 / 3
"""Of the time that a boot may take: what a clone may take to greet."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the factory holds, and how VMs came about."""

    pooled: dict[str, int]
    """VMs that wait, by shape (a template's key)."""
    pooled_bytes: int
    templates: int
    template_bytes: int
    launched: dict[str, int]
    """VMs so far, by way."""
    fallbacks: int
    """Clones that did not come up or were not to be trusted."""


class Factory:
    """One per daemon. *spare* makes a tap that joins nothing; without a *sample* pooled VMs are not warmed."""

    def __init__(
        self,
        config: Config,
        driver: Driver,
        connect: Connect,
        spare: Callable[[], Awaitable[SpareTap]],
        sample: Sample | None = None,
    ) -> None:
        self._driver = driver
        self._connect = connect
        self._boot_timeout = config.boot_timeout
        self._isolation = Isolation(config.isolation)
        self._clones = driver.capabilities.templates
        self._zygotes = driver.capabilities.zygotes
        self._pool = Pool()
        self._demand = Demand(config.pool_fill)
        self._templates = Templates(driver, connect, spare, sample, config.boot_timeout)
        self._filler = Filler(config, driver, connect, spare, sample, self._pool, self._templates, self._demand)
        self._launched: Counter[str] = Counter()
        self._fallbacks = 0
        self._promised: Counter[str] = Counter()
        self._keys: dict[tuple[str, int, int], tuple[str, float]] = {}

    def start(self, usual: VmSpec) -> None:
        """Begin to keep VMs ready, if there is a budget for it; *usual* is of the shape that most will have."""
        if self._clones:
            if self._isolation is not Isolation.COLD:
                self._demand.expect(self._key(usual), usual)
            self._filler.start()

    @contextlib.contextmanager
    def foreground(self) -> Iterator[None]:
        """Somebody waits for a start: what can be done later is, meanwhile."""
        with self._filler.held():
            yield

    def promise(self, spec: VmSpec, isolation: Isolation | None = None) -> Promise:
        """The way that a launch of *spec* would go now. A VM of the pool is counted on until the promise is kept."""
        if not self._clones or spec.shared or (isolation or self._isolation) is Isolation.COLD:
            return Promise(Way.COLD, self._promised, "")
        key = self._key(spec)
        if self._pool.count(key) > self._promised[key]:
            return Promise(Way.POOL, self._promised, key)
        return Promise(Way.TEMPLATE if key in self._templates else Way.COLD, self._promised, key)

    async def launch(
        self,
        spec: VmSpec,
        client: Client,
        isolation: Isolation | None = None,
        quickest: Way = Way.POOL,
    ) -> Launched:
        """A VM of *spec* (without `nic` and `template`) whose card is connected to the client's port.

        *isolation* is the tenant's wish, None the operator's setting. Raises what the cold boot raises, if it comes
        to that; nothing is left then.
        """
        notes: list[str] = []
        key = ""
        if not self._clones:
            quickest = Way.COLD
        elif spec.shared:
            quickest = Way.COLD
            notes.append("it sees files of the host")
        elif (isolation or self._isolation) is Isolation.COLD:
            quickest = Way.COLD
            notes.append("isolation is cold")
            key = ZYGOTE + self._key(spec) if self._zygotes else ""
        else:
            key = self._key(spec)
            self._demand.started(key, spec)
        for way in QUICKEST_FIRST[QUICKEST_FIRST.index(quickest) :]:
            try:
                launched = await self._take(way, key, spec, client, "; ".join(notes))
            except NotThisWay as reason:
                notes.append(str(reason))
            else:
                self._launched[way] += 1
                return launched
        raise AssertionError("a cold boot either works or raises")

    async def reject(self, launched: Launched, why: str) -> None:
        """It is not what it should be: end it, and trust nothing that was made of the same template."""
        self._fallbacks += 1
        log.warning("the VM %s (%s) is thrown away: %s", launched.vm.id[:12], launched.way, why)
        try:
            await self._driver.discard(launched.vm.id)
        finally:
            await self._distrust(launched.key, why)

    async def give_up(self, wanted: int) -> int:
        """Memory is wanted for something better than waiting VMs: end some, the oldest first. The bytes they held."""
        return await self._filler.give_up(wanted)

    def figures(self) -> Figures:
        return Figures(
            pooled=self._pool.shapes(),
            pooled_bytes=self._pool.bytes,
            templates=len(self._templates),
            template_bytes=self._templates.bytes,
            launched=dict(self._launched),
            fallbacks=self._fallbacks,
        )

    async def close(self) -> None:
        """End the VMs that are nobody's; drop the templates. Everybody else's VMs go on."""
        await self._filler.close()
        await self._templates.close()

    def _key(self, spec: VmSpec) -> str:
        """Every VM of ours has a card. Looked up anew every second: a key that has changed meanwhile fits no template,
        and the start falls back."""
        shape, now = (spec.kernel.name, spec.memory_mib, spec.vcpus), time.monotonic()
        key, until = self._keys.get(shape, ("", 0.0))
        if now >= until:
            self._keys = {known: value for known, value in self._keys.items() if now < value[1]}
            key = self._driver.template_key(replace(spec, nic=Nic(-1, DEVICE_MAC)))
            self._keys[shape] = (key, now + _KEY_LASTS)
        return key

    # The ways

    async def _take(self, way: Way, key: str, spec: VmSpec, client: Client, note: str) -> Launched:
        if way is Way.POOL:
            vm, agent = await self._claim(key, spec, client)
        elif way is Way.TEMPLATE:
            vm, agent = await self._clone(key, spec, client)
        else:
            return await self._cold(key, spec, client, note)
        return Launched(vm, way, note, agent, key)

    async def _cold(self, key: str, spec: VmSpec, client: Client, note: str) -> Launched:
        """*key* may be that of a zygote. Where there is none yet, or it fails, a hypervisor of its own boots."""
        if key.startswith(ZYGOTE):
            try:
                vm, agent = await self._clone(key, spec, client)
                return Launched(vm, Way.COLD, note, agent, key)
            except NotThisWay as reason:
                note = f"{note}; {reason}"
        return Launched(await self._boot(spec, client), Way.COLD, note, None)

    async def _boot(self, spec: VmSpec, client: Client) -> Vm:
        nic = Nic(await client.open(), DEVICE_MAC)
        crash_point("tap-open")
        vm = await self._driver.launch(replace(spec, nic=nic))
        crash_point("vm-launched")
        client.found(vm)
        return vm

    async def _clone(self, key: str, spec: VmSpec, client: Client) -> tuple[Vm, Agent]:
        """Of a template, or of a zygote: then it boots."""
        boots = key.startswith(ZYGOTE)
        patience = self._boot_timeout if boots else self._boot_timeout * _PATIENCE
        with self._templates.lease(key, spec) as template:
            nic = Nic(await client.open(), DEVICE_MAC)
            crash_point("clone-tap-open")
            try:
                vm = await self._driver.launch(replace(spec, nic=nic, template=template))
            except HypercellError as error:
                raise await self._failed(key, client, f"a clone could not be launched ({error})", error) from error
        crash_point("clone-launched")
        try:
            client.found(vm)
            with client.booting() if boots else contextlib.nullcontext():
                agent = await greet(vm, self._connect, client.on_event, patience)
        except HypercellError as error:
            await self._driver.discard(spec.id)
            raise await self._failed(key, client, f"a clone did not come up ({error})", error) from error
        except BaseException:
            await finish(self._driver.discard(spec.id))
            raise
        self._templates.proved(key)
        crash_point("clone-greeted")
        return vm, agent

    async def _claim(self, key: str, spec: VmSpec, client: Client) -> tuple[Vm, Agent]:
        pooled = self._take_waiting(key)
        if pooled is None:
            raise NotThisWay("no VM of this size was waiting")
        if self._driver.capabilities.real:
            try:
                to_foreground(pooled.vm.pid)
            except OSError as error:
                self._filler.bury(pooled)
                raise NotThisWay(f"a waiting VM could not be given its priority ({error.strerror})") from error
        pooled.listener.target = client.on_event
        crash_point("claim-begin")
        try:
            vm = await self._connected(pooled, spec, client)
            crash_point("claimed")
            client.found(vm)
        except HypercellError as error:
            await self._discard(pooled, spec.id)
            if not client.wanted:
                raise
            self._fallbacks += 1
            log.warning("a waiting VM could not be claimed: %s", error)
            raise NotThisWay(f"a waiting VM could not be claimed ({error})") from error
        except BaseException:
            await finish(self._discard(pooled, spec.id))
            raise
        return vm, pooled.agent

    async def _connected(self, pooled: Pooled, spec: VmSpec, client: Client) -> Vm:
        """Claimed, with its disks inserted and its tap on the port; both at once."""
        giving = asyncio.ensure_future(client.give(pooled.tap))
        try:
            vm = await self._driver.claim(pooled.vm.id, spec)
            await giving
        except BaseException:
            giving.cancel()
            await asyncio.gather(giving, return_exceptions=True)
            raise
        return vm

    def _take_waiting(self, key: str) -> Pooled | None:
        while (pooled := self._pool.take(key)) is not None:
            if pooled.well:
                return pooled
            self._filler.bury(pooled)
        return None

    async def _discard(self, pooled: Pooled, claimed: str) -> None:
        """Whichever name it has by now."""
        await pooled.agent.close()
        await self._driver.discard(pooled.vm.id)
        await self._driver.discard(claimed)

    async def _failed(self, key: str, client: Client, why: str, error: HypercellError) -> Exception:
        """What to raise when a clone failed: another way is open, unless nobody wants the VM any more."""
        if not client.wanted:
            return error
        self._fallbacks += 1
        if not isinstance(error, VmFailed | InvalidArgument):  # a full disk is nobody's fault
            return NotThisWay(why)
        await self._distrust(key, why)
        return NotThisWay(f"its template is damaged: {why}")

    async def _distrust(self, key: str, why: str) -> None:
        """A template goes with all that waits and was made of it."""
        self._templates.distrust(key, why)
        for pooled in self._pool.take_all(key):
            self._filler.bury(pooled)
