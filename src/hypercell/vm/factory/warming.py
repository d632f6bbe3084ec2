# SPDX-License-Identifier: Apache-2.0
"""What is expensive the first time is done before anybody waits for it: a template, and a clone that does not come as
warm as its template, carries out a container of ours, so that the hypervisor has translated, and the guest's kernel
has set up, all that a start runs through."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from hypercell.agent.contract import Agent
from hypercell.base.errors import VmFailed
from hypercell.vm.driver import ROOT_OF_DISKS, Disk, Slot
from hypercell.vm.factory.greeting import Listener
from hypercell.vm.factory.ways import Json

NAME = "warming"
"""Of the host, and how the names of its containers begin."""
# Addresses for documentation (RFC 5737): nothing joins the tap of a pooled VM, so nobody hears of them.
_ADDRESS, _GATEWAY = "192.0.2.2/24", "192.0.2.1"
_AGAIN = "again"
_ROUNDS = 2
"""The second goes ways that the first cannot: there is an address to replace, and a cgroup tree to find."""
_TIMEOUT = 30.0
_numbers = itertools.count()
"""No round finds the writable layer or the address of an earlier one: what is done but once would not be done again."""


class Sample(Protocol):
    """A container of ours, of the kind that users have."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Its OCI `config.json`; the program says something once it takes SIGTERM, and runs until then; with the
        argument `again` as well, it ends by itself."""

    @property
    def files(self) -> Sequence[Json]:
        """As `container.create` wants them."""

    def disks(self, vm_id: str) -> AbstractAsyncContextManager[dict[Slot, Disk]]:
        """Its image, and a writable layer to throw away: needed until the VM is launched."""


def disks_of(sample: Sample | None, vm_id: str) -> AbstractAsyncContextManager[dict[Slot, Disk]]:
    """Those of *sample*; none without one."""
    return nullcontext({}) if sample is None else sample.disks(vm_id)


async def warm(agent: Agent, listener: Listener, device_mac: str, sample: Sample) -> None:
    """Run *sample* to its end, twice, and leave nothing of it: the machine is nobody yet. Raises `HypercellError`."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            for _ in range(_ROUNDS):
                await _run(agent, listener, device_mac, sample)
            # Taking a card down waits some ticks of the guest's clock; whoever claims the VM need not.
            interface = {**_interface(device_mac, next(_numbers)), "down": True}
            await agent.request("network.update", {"interfaces": [interface]})
    except TimeoutError:
        raise VmFailed(f"our own container was not over within {_TIMEOUT:g} s", "agent-lost") from None
    finally:
        listener.target = _ignore


async def _run(agent: Agent, listener: Listener, device_mac: str, sample: Sample) -> None:
    ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
    number = next(_numbers)
    name = f"{NAME}{number}"
    listener.target = lambda event: _note(event, ended)
    await agent.request("configure", _configuration(_interface(device_mac, number)))
    outputs = [agent.new_stream() for _ in range(4)]
    heard = asyncio.Event()
    reading = [asyncio.ensure_future(_read(agent, stream, heard)) for stream in outputs]
    try:
        await agent.request("container.create", _container(name, sample, *outputs[:2]))
        await agent.request("container.start", {"container": name})
        await heard.wait()
        await agent.request("process.exec", _exec(name, sample, *outputs[2:]))
        await ended[_AGAIN].wait()
        await agent.request("process.reap", {"container": name, "process": _AGAIN})
        await agent.request("container.stats", {"container": name})
        await agent.request("process.signal", {"container": name, "process": "init", "signal": signal.SIGTERM})
        await asyncio.gather(ended["init"].wait(), *reading)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    await agent.request("container.delete", {"container": name})


def _note(event: Json, ended: defaultdict[str, asyncio.Event]) -> None:
    if event.get("event") == "process.exited":
        ended[str(event.get("process"))].set()


async def _read(agent: Agent, stream: int, heard: asyncio.Event) -> None:
    output = agent.output(stream)
    while await output.read():
        heard.set()
        output.acknowledge(output.position)
    output.acknowledge(output.position + 1)


def _configuration(interface: Json) -> Json:
    """All of it will be replaced when the VM is claimed."""
    return {
        "hostname": NAME,
        "clock_ns": time.time_ns(),
        "entropy": b64encode(os.urandom(64)).decode(),
        "machine_id": os.urandom(16).hex(),
        "interfaces": [{**interface, "addresses": [_ADDRESS], "gateway": _GATEWAY}],
        "sysctl": {},
        "rehearsal": True,
    }


def _interface(device_mac: str, number: int) -> Json:
    return {"device_mac": device_mac, "mac": f"02:42:c0:00:02:{number % 256:02x}", "name": "eth0", "mtu": 1500}


def _container(name: str, sample: Sample, stdout: int, stderr: int) -> Json:
    return {
        "container": name,
        "root": ROOT_OF_DISKS,
        "config": dict(sample.config),
        "files": list(sample.files),
        "stdin": 0,
        "stdout": stdout,
        "stderr": stderr,
        "rows": 24,
        "columns": 80,
    }


def _exec(name: str, sample: Sample, stdout: int, stderr: int) -> Json:
    process = sample.config["process"]
    spec = {**process, "args": [*process["args"], _AGAIN]}
    return {"container": name, "process": _AGAIN, "spec": spec, "stdin": 0, "stdout": stdout, "stderr": stderr}


def _ignore(event: Json) -> None:
    pass
