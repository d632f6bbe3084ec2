# SPDX-License-Identifier: Apache-2.0
"""A pod: one VM, the connection to its agent, and the watch over both.

A pod tells its containers three things: an event of the agent, that the connection was lost and is back, and that the
VM has ended and how. Whatever a VM does or omits, each call here returns in a bounded time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from hypercell.agent.contract import Agent
from hypercell.base.crash import crash_point
from hypercell.base.errors import HypercellError, VmFailed
from hypercell.node.boot import UNWANTED, Berth, isolation, vm_spec
from hypercell.node.guest_state import ContainerState, highest_stream, parse
from hypercell.node.interfaces import interfaces
from hypercell.node.network import Port
from hypercell.node.records import PodRecord
from hypercell.node.services import Services
from hypercell.node.spec import PodVolume
from hypercell.node.trace import Trace
from hypercell.node.volumes import HeldVolume
from hypercell.vm.driver import Disk, Slot, Vm, VmExit
from hypercell.vm.factory import Launched, Promise, Way

log = logging.getLogger(__name__)

Json = dict[str, Any]

AGENT_LOST = "agent-lost"
POD_ENDED = "pod-ended"
"""Why a member of a pod ended that did not end by itself."""
LAST_WORDS = 0.2
"""Seconds in which a VM whose agent hung up may say that it has ended."""
WORDS = {
    "boot-failed": "the VM did not boot",
    "hypervisor-failed": "the hypervisor failed",
    "hypervisor-killed": "the hypervisor was killed",
    "guest-panic": "the guest's kernel panicked",
    "guest-reset": "the VM reset itself",
    AGENT_LOST: "the VM runs but does not answer, and was killed",
    "shutdown": UNWANTED,
    "unknown": "the VM ended while the daemon was away",
    POD_ENDED: "the container whose VM it is in has ended",
}


class Watcher(Protocol):
    """A container of the pod."""

    def on_event(self, event: Json) -> None: ...
    def on_reconnected(self, agent: Agent, found: dict[str, ContainerState]) -> None: ...
    def on_vm_ended(self, reason: str, detail: str) -> None: ...


class VmEnded(Exception):
    """Instead of an answer."""

    def __init__(self, ended: VmExit) -> None:
        super().__init__(ended.reason.value)
        self.reason, self.detail = ended.reason.value, ended.detail

    def failure(self, when: str = "") -> VmFailed:
        words = f"{WORDS[self.reason]}{when}"
        return VmFailed(f"{words}: {self.detail}" if self.detail else words, self.reason)


class Pod:
    def __init__(self, record: PodRecord, services: Services, port: Port) -> None:
        self.record = record
        self.port = port
        """Its card, and what is published of it now."""
        self.vm: Vm | None = None
        self.agent: Agent | None = None
        self.doomed = False
        """Somebody wanted its end: a launch under way must not go on. Whoever boots it takes this back first."""
        self.promise: Promise | None = None
        """Which way its VM is going to come about; whoever boots it makes and ends it."""
        self.launched: Launched | None = None
        """How its VM came about; None of one that was adopted."""
        self.confirmed = False
        """The guest has proved that it is nobody's copy."""
        self.volumes: dict[str, HeldVolume] = {}
        """By id those that its VM has, may have, or is about to: see `Claims`."""
        self.plugging = asyncio.Lock()
        """Held while volumes are put into its VM or taken out."""
        self.watchers: dict[str, Watcher] = {}
        """By container id."""
        self.found: Mapping[str, ContainerState] = {}
        """What its guest knew of containers when it was adopted."""
        self.standing = asyncio.Event()
        """Set while the container runs that its VM was made for, and when that one is removed."""
        self._fate = ""
        """Why somebody ended its VM by force."""
        self._news = asyncio.Event()
        """Set, and replaced, when the guest has answered again or the VM has ended."""
        self.services = services
        self._watch: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self.record.id

    # Beginning

    def prospect(self) -> Way:
        """The way that its VM would come about now; one that waits is counted on until `boot` has it."""
        wanted = vm_spec(self.id, self.record.spec, self.services.kernel)
        self.promise = self.services.factory.promise(wanted, isolation(self.record.spec))
        return self.promise.way

    def forget_promise(self) -> None:
        if self.promise is not None:
            self.promise.keep()

    async def boot(self, disks: Mapping[Slot, Disk], trace: Trace, quickest: Way = Way.POOL) -> Agent:
        """Come by a VM that greets, unless `kill` comes between. The caller calls `destroy` on any error."""
        services, spec = self.services, self.record.spec
        self.confirmed, self.launched, self._fate = False, None, ""
        wanted = vm_spec(self.id, spec, services.kernel, disks)
        with trace.step("hypervisor"):
            launched = await services.factory.launch(wanted, Berth(self, trace), isolation(spec), quickest)
        self.launched, self.agent = launched, launched.agent
        trace.way, trace.note = launched.way, launched.note
        if self.agent is None:
            with trace.step("guest"):
                try:
                    self.agent = await self._connect(launched.vm, services.config.boot_timeout)
                except VmEnded as ended:
                    raise ended.failure(" while it booted") from ended
        return self.agent

    async def diagnose(self, error: HypercellError) -> HypercellError:
        """Whether an agent was lost because its VM has ended; that is then the better account."""
        if self.vm is None or not isinstance(error, VmFailed) or error.reason != AGENT_LOST:
            return error
        try:
            ended = await asyncio.wait_for(self.vm.wait(), LAST_WORDS)
        except TimeoutError:
            return error
        return VmEnded(ended).failure()

    async def configure(self, agent: Agent) -> None:
        """Clock, entropy, ids and addresses: all that must be the VM's own before anything of a tenant runs.

        Raises `VmFailed` for a guest that does not confirm them.
        """
        assert self.vm is not None
        hostname, asked = self.record.spec.hostname, time.time_ns()
        members = {
            "hostname": hostname,
            "clock_ns": asked,
            "entropy": b64encode(os.urandom(64)).decode(),
            "machine_id": self.id[:32],
            "interfaces": interfaces(self.port, self.vm.device_mac),
            "sysctl": dict(self.record.spec.sysctls),
        }
        reply = await agent.request("configure", members, self.services.bounds.request)
        self.services.identities.confirm(self.id, hostname, reply, asked, time.time_ns())
        self.confirmed = True

    async def adopt(self) -> dict[str, ContainerState] | None:
        """Find the VM of an earlier daemon and its agent; what the agent knows of containers, or None without a VM.

        Raises `VmFailed` for a VM that does not answer; it still exists then.
        """
        self.vm = await self.services.driver.adopt(self.id)
        if self.vm is None:
            return None
        bound = self.services.bounds.reconnect
        try:
            self.agent = await self._connect(self.vm, bound)
        except VmEnded as ended:
            raise ended.failure() from ended
        self.services.identities.adopt(self.id, self.agent.welcome.boot_id)
        self.found = parse(await self.agent.request("state", {}, bound))
        return dict(self.found)

    def watch(self) -> None:
        """From now on tell the containers how the VM fares."""
        self._watch = self.services.tasks.spawn(self._keep(), f"watch of pod {self.id[:12]}")

    async def _connect(self, vm: Vm, timeout: float) -> Agent:
        """Greet the agent. Raises `VmEnded` as soon as the VM has, else what `connect` raises."""
        connect = asyncio.ensure_future(self.services.connect(vm.connect_agent, self.on_event, timeout))
        ended = asyncio.ensure_future(vm.wait())
        try:
            await asyncio.wait({connect, ended}, return_when=asyncio.FIRST_COMPLETED)
            if connect.done() and connect.exception() is None:
                return connect.result()
            if not ended.done():  # give a dying VM the time to say how it dies
                await asyncio.wait({ended}, timeout=LAST_WORDS)
            if ended.done():
                raise VmEnded(ended.result())
            error = connect.exception()
            assert error is not None
            raise error
        finally:
            for task in (connect, ended):
                task.cancel()
            await asyncio.gather(connect, ended, return_exceptions=True)

    # Volumes

    def hold(self, container_id: str, uses: Iterable[PodVolume], plugged: bool = False) -> None:
        """A container has these volumes in its VM, or is about to."""
        for use in uses:
            held = self.volumes.setdefault(use.volume, HeldVolume(use.read_only))
            if not held.plugged:
                held.read_only, held.plugged = held.read_only and use.read_only, plugged
            held.users.add(container_id)

    @property
    def writes_volumes(self) -> bool:
        return not all(held.read_only for held in self.volumes.values())

    # Watching

    async def _keep(self) -> None:
        while True:
            vm, agent = self.vm, self.agent
            assert vm is not None and agent is not None
            ended = asyncio.ensure_future(vm.wait())
            lost = asyncio.ensure_future(agent.closed.wait())
            try:
                await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                lost.cancel()
                if not ended.done():
                    ended.cancel()
            if ended.done() and not ended.cancelled():
                self._tell_end(VmEnded(ended.result()))
                return
            try:
                await self._reconnect(vm)
            except VmEnded as end:
                self._tell_end(end)
                return
            except Exception as error:  # whatever it is: nobody else would notice that the VM is not watched any more
                log.warning("the agent of pod %s is lost: %r", self.id[:12], error)
                await vm.kill()
                self._tell_end(None)
                return

    async def _reconnect(self, vm: Vm) -> None:
        bound = self.services.bounds.reconnect
        self.agent = agent = await self._connect(vm, bound)
        self.found = found = parse(await agent.request("state", {}, bound))
        agent.reserve_streams(highest_stream(found))
        self._tell_news()
        log.warning("the connection to the agent of pod %s was lost, and is back", self.id[:12])
        for watcher in list(self.watchers.values()):
            watcher.on_reconnected(agent, found)

    async def reconnected(self, lost: Agent, bound: float) -> None:
        """Wait until the guest answers on another connection than *lost*. Raises `VmFailed`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound):
                while self.agent is lost:
                    await self._news.wait()
        if self.agent is lost or self.agent is None:
            raise VmFailed(WORDS[AGENT_LOST], AGENT_LOST)

    def _tell_news(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _tell_end(self, end: VmEnded | None) -> None:
        reason, detail = (end.reason, end.detail) if end is not None and not self._fate else (AGENT_LOST, self._fate)
        for watcher in list(self.watchers.values()):
            watcher.on_vm_ended(reason, detail)

    def on_event(self, event: Json) -> None:
        if event.get("event") == "log":
            log.info("agent of pod %s: %r", self.id[:12], str(event.get("message", ""))[:512])
            return
        watcher = self.watchers.get(str(event.get("container")))
        if watcher is not None:
            watcher.on_event(event)

    # Ending

    async def kill(self, why: str = "") -> None:
        """End the VM now. Containers hear of it as of any other end; *why*: what its guest failed to do."""
        self.doomed, self._fate = True, why or self._fate
        self.services.claims.tell()
        if self.vm is not None:
            await self.vm.kill()

    async def shut_down(self) -> None:
        """End the VM in order, so that the disks hold what was written; by force if the guest takes too long."""
        vm, agent = self.vm, self.agent
        if vm is not None and agent is not None and not agent.closed.is_set():
            await self._stop_watching()
            bound = self.services.bounds.shutdown
            with contextlib.suppress(HypercellError, TimeoutError):
                vm.expect_shutdown()
                await agent.request("shutdown", {"timeout_ms": int(bound * 800)}, bound)
                await asyncio.wait_for(vm.wait(), bound)
                await self._note_clean_volumes()
        await self.destroy()

    async def _note_clean_volumes(self) -> None:
        """Its guest has let go of them in order."""
        written = [ident for ident, held in self.volumes.items() if held.plugged and not held.read_only]
        await self.services.volumes.note_clean(written, True)

    async def destroy(self) -> None:
        """End the VM and remove all that belongs to it. The network port stays, without published ports."""
        await self._stop_watching()
        await self.forget_vm()
        self._tell_news()
        crash_point("vm-discard")
        try:
            await self.services.driver.discard(self.id)
            self.volumes.clear()
            self.services.claims.tell()
        finally:
            await self.withdraw()

    async def withdraw(self) -> None:
        """Nothing of it is published any more, and nobody finds it by a name."""
        self.services.network.announce(self.id, ())
        await self.services.network.unpublish(self.id)
        self.port = replace(self.port, published=())

    async def forget_vm(self) -> None:
        """Somebody else ends it."""
        agent, self.agent, self.vm = self.agent, None, None
        if agent is not None:
            await agent.close()

    async def let_go(self) -> None:
        """The daemon ends; the VM does not."""
        await self._stop_watching()
        if self.agent is not None:
            await self.agent.close()

    async def _stop_watching(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None and watch is not asyncio.current_task():
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
