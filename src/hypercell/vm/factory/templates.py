# SPDX-License-Identifier: Apache-2.0
"""The keeper of templates, and of zygotes, whose clones boot: each is built once, lazily, under a lock, and verified;
it goes when nobody uses it, when memory is short, or when a clone of it did not come up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from hypercell.agent.contract import Connect
from hypercell.base.crash import crash_point
from hypercell.base.errors import HypercellError
from hypercell.base.finish import finish
from hypercell.base.ids import new_id
from hypercell.base.sizes import MIB
from hypercell.vm import shapes
from hypercell.vm.driver import DEVICE_MAC, Driver, Nic, Template, Vm, VmSpec
from hypercell.vm.factory import memory
from hypercell.vm.factory.greeting import Listener, greet
from hypercell.vm.factory.warming import Sample, disks_of, warm
from hypercell.vm.factory.ways import NotThisWay, SpareTap

log = logging.getLogger(__name__)

MOST = 8
"""Templates that are kept at once: the one that was not used for longest makes room."""
UNUSED = 1800.0
"""Seconds after which a template that nobody used is dropped."""
ZYGOTE = "zygote "
"""Before the key of one: that of a template of the same shape."""
_PAUSES = (5.0, 300.0)
"""Seconds from a failed build to the next, the first time and at most; doubled with each failure."""


@dataclass(slots=True)
class _Kept:
    template: Template
    used: float
    users: int = 0
    dropped: bool = False

    def drop(self) -> None:
        self.dropped = True
        if not self.users:
            self.template.close()


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    until: float
    pause: float


class Templates:
    def __init__(
        self,
        driver: Driver,
        connect: Connect,
        spare: Callable[[], Awaitable[SpareTap]],
        sample: Sample | None,
        boot_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._connect = connect
        self._spare = spare
        self._sample = sample
        self._timeout = boot_timeout
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._failures: dict[str, _Failure] = {}
        self._builds: dict[str, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    @property
    def bytes(self) -> int:
        """Host memory that they hold."""
        return sum(kept.template.bytes for kept in self._kept.values())

    @contextlib.contextmanager
    def lease(self, key: str, spec: VmSpec) -> Iterator[Template]:
        """The template of *key*, which is not closed while it is leased. Where there is none, it is built meanwhile.

        Raises `NotThisWay` then.
        """
        kept = self._kept.get(key)
        if kept is None:
            raise NotThisWay(self._begin(key, spec))
        kept.used = self._clock()
        kept.users += 1
        try:
            yield kept.template
        finally:
            kept.users -= 1
            if kept.dropped and not kept.users:
                kept.template.close()

    async def ensure(self, key: str, spec: VmSpec) -> bool:
        """Build it, if it is not there; whether it is now."""
        if key not in self._kept:
            self._begin(key, spec)
            build = self._builds.get(key)
            if build is not None:
                await asyncio.wait({build})
        return key in self._kept

    def proved(self, key: str) -> None:
        """A clone of it is in use and well: what failed before is forgotten."""
        self._failures.pop(key, None)

    def failing(self, key: str) -> bool:
        """Whether its last build failed, and the next has to wait."""
        failure = self._failures.get(key)
        return failure is not None and self._clock() < failure.until

    def trusted(self, key: str, template: Template) -> bool:
        """Whether clones of *template* may still be given to anybody."""
        kept = self._kept.get(key)
        return kept is not None and kept.template is template

    def distrust(self, key: str, why: str) -> None:
        """A clone of it did not come up, or is not to be trusted: drop it, and build no other for a while."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            log.warning("the %s is dropped: %s", _called(key), why)
            kept.drop()
            self._failed(key, why)

    def drop_unused(self, spared: set[str], all_of_them: bool = False) -> bool:
        """Drop what nobody used for a while, or *all_of_them* that nobody uses now, but for *spared*; whether
        anything was dropped."""
        now = self._clock()
        old = [
            key
            for key, kept in self._kept.items()
            if key not in spared and not kept.users and (all_of_them or now - kept.used > UNUSED)
        ]
        for key in old:
            self._kept.pop(key).drop()
        return bool(old)

    async def close(self) -> None:
        for build in list(self._builds.values()):
            build.cancel()
        await asyncio.gather(*self._builds.values(), return_exceptions=True)
        kept, self._kept = self._kept, {}
        for one in kept.values():
            one.drop()

    # Building

    def _begin(self, key: str, spec: VmSpec) -> str:
        """Build it in the background, if that may be; why it is not there yet."""
        if spec.memory_mib * MIB > memory.total():
            why = f"the machine has less memory than {spec.memory_mib} MiB"
            self._failed(key, why)  # nobody need ask again soon
            return f"it has no {_kind(key)}: {why}"
        if self.failing(key):
            return f"its {_kind(key)} failed and will be built again later ({self._failures[key].why})"
        if memory.available() < memory.reserve():
            return f"it has no {_kind(key)}, and memory is short"
        if key not in self._builds:
            task = asyncio.create_task(self._build(key, spec), name=_called(key))
            self._builds[key] = task
            task.add_done_callback(lambda done: self._builds.pop(key, None))
        return f"its {_kind(key)} is being built"

    async def _build(self, key: str, spec: VmSpec) -> None:
        async with self._one_at_a_time:
            began = self._clock()
            try:
                template = await self._make(key, spec)
            except (HypercellError, OSError) as error:
                log.warning("the %s for %s failed: %s", _kind(key), _size(spec), error)
                self._failed(key, str(error))
                return
            except Exception as error:
                log.exception("the %s for %s failed", _kind(key), _size(spec))
                self._failed(key, type(error).__name__)
                return
            self._make_room()
            self._kept[key] = _Kept(template, self._clock())
            taken, held = self._clock() - began, template.bytes >> 20
            log.info("made the %s for %s in %.1f s (%d MiB)", _called(key), _size(spec), taken, held)

    async def _make(self, key: str, spec: VmSpec) -> Template:
        make = self._driver.make_zygote if key.startswith(ZYGOTE) else self._driver.make_template
        crash_point("template-begin")
        ident = new_id()
        async with disks_of(self._sample, ident) as disks:  # before there is a tap, which nobody would close
            bare = replace(await self._bare(spec), id=ident, disks=disks)
            template = await make(bare, self._settle)
        try:
            crash_point("template-saved")
            await self._verify(spec, template)
        except BaseException:
            template.close()
            raise
        crash_point("template-verified")
        return template

    async def _bare(self, spec: VmSpec, template: Template | None = None) -> VmSpec:
        """A VM of that shape that is nobody's."""
        tap = await self._spare()
        nic = Nic(tap.descriptor, DEVICE_MAC)
        return replace(shapes.bare(spec), id=new_id(), nic=nic, template=template)

    async def _settle(self, vm: Vm) -> None:
        """The guest has carried out what every start will have to: clones find it done, as far as it can be saved."""
        await self._greet(vm, self._sample)

    async def _greet(self, vm: Vm, sample: Sample | None = None) -> None:
        """The agent has greeted, has nothing to do, and is let alone again."""
        listener = Listener()
        agent = await greet(vm, self._connect, listener, self._timeout)
        try:
            if sample is not None:
                await warm(agent, listener, vm.device_mac, sample)
            await agent.request("ping", {}, self._timeout)
        finally:
            await agent.close()

    async def _verify(self, spec: VmSpec, template: Template) -> None:
        """One clone must answer."""
        bare = await self._bare(spec, template)
        vm = await self._driver.launch(bare)
        try:
            await self._greet(vm)
        finally:
            await finish(self._driver.discard(bare.id))

    def _failed(self, key: str, why: str) -> None:
        first, longest = _PAUSES
        before = self._failures.get(key)
        pause = first if before is None else min(longest, 2 * before.pause)
        self._failures[key] = _Failure(why, self._clock() + pause, pause)
        for old in list(self._failures)[: -4 * MOST]:
            del self._failures[old]

    def _make_room(self) -> None:
        while len(self._kept) >= MOST:
            idle = [key for key, kept in self._kept.items() if not kept.users] or list(self._kept)
            self._kept.pop(min(idle, key=lambda key: self._kept[key].used)).drop()


def _size(spec: VmSpec) -> str:
    return f"{spec.memory_mib} MiB and {spec.vcpus} CPU{'s' * (spec.vcpus > 1)}"


def _kind(key: str) -> str:
    return "zygote" if key.startswith(ZYGOTE) else "template"


def _called(key: str) -> str:
    return f"{_kind(key)} {key.removeprefix(ZYGOTE)[:12]}"
