# SPDX-License-Identifier: Apache-2.0
"""A daemon in a process of its own that kills itself, with SIGKILL, when it passes a given crash point.

    python -m tests.support.killable DIRECTORY POINT COUNT VERB [ARGUMENT…]

The VMs of its machine live in the test's process, and go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from hypercell.base import crash
from hypercell.base.errors import HypercellError, NotFound
from hypercell.cloud.contract import ContainerRequest, LogSpec, MountRequest, RestartPolicy, VolumeRequest
from hypercell.node.network import PublishedPort
from tests.support.house import House, T, eventually

LOGS = {
    "few": LogSpec(files=3, file_size=70),
    "packed": LogSpec(files=3, file_size=70, compress=True),
    "none": LogSpec(kept=False),
}
"""By the options of `run`: a line fills a file."""
CLONING = ("template", "pool")
"""Verbs: run a container in a VM of that way."""


def die_at(point: str, count: int) -> None:
    left = count

    def hook(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    crash.set_hook(hook)


async def perform(house: House, verb: str, arguments: list[str]) -> None:
    containers = house.containers
    if verb == "run":
        options, command = arguments[0], tuple(arguments[1:])
        policy = RestartPolicy("always") if "always" in options else RestartPolicy()
        request = ContainerRequest(
            "busybox",
            name="it",
            command=command,
            restart=policy,
            auto_remove="rm" in options,
            log=LOGS.get(options, LogSpec()),
            published=(PublishedPort(80, "tcp", "", 8080),),
        )
        await containers.create(T, request)
        await containers.start(T, "it")
        with contextlib.suppress(NotFound):  # it is gone already
            await containers.wait(T, "it", "removed" if "rm" in options else "not-running")
    elif verb == "rm":
        await asyncio.gather(*(containers.remove(T, name, force=True) for name in arguments))
    elif verb == "stop":
        await containers.stop(T, arguments[0], 0)
    elif verb == "start":
        await containers.start(T, arguments[0])
    elif verb == "export":
        await containers.create(T, ContainerRequest("busybox", name="it", command=("true",)))
        if "ended" in arguments:
            await containers.start(T, "it")
            await containers.wait(T, "it", "not-running")
        async for _ in await containers.export(T, "it"):
            pass
    elif verb == "volume":
        await _volumes(house, *arguments)
    elif verb == "member":
        await _member(house, *arguments)
    elif verb in CLONING:
        await _run_in_a_clone(house, verb)
    await asyncio.sleep(2)  # what goes on behind the caller's back


async def _volumes(house: House, what: str) -> None:
    """Make the volume `data`, or remove it; or run a container with it and one of its own, and remove both."""
    assert house.cloud is not None
    if what == "make":
        await house.cloud.volumes.create(T, VolumeRequest("data"))
    elif what == "remove":
        await house.cloud.volumes.remove(T, "data")
    else:
        mounts = (MountRequest("/data", "data"),)
        request = ContainerRequest("busybox", name="it", command=("true",), mounts=mounts, volumes=("/own",))
        await house.containers.create(T, request)
        await house.containers.start(T, "it")
        await house.containers.wait(T, "it", "not-running")
        await house.containers.remove(T, "it", volumes=True)


async def _member(house: House, policy: str = "no", *command: str) -> None:
    """A container `host`, and `it` in its VM until that has ended."""
    assert house.cloud is not None
    await house.containers.create(T, ContainerRequest("busybox", name="host", command=("sleep", "infinity")))
    await house.containers.start(T, "host")
    request = ContainerRequest(
        "busybox",
        name="it",
        command=command,
        joins={"network": "host", "pid": "host"},
        restart=RestartPolicy(policy),
        mounts=(MountRequest("/data", "data"),),
    )
    await house.containers.create(T, request)
    await house.containers.start(T, "it")
    await house.containers.wait(T, "it", "not-running")
    await asyncio.sleep(0.2)
    await house.containers.remove(T, "it", volumes=True)


async def _run_in_a_clone(house: House, way: str) -> None:
    """A container `it` in a VM of that way, and before it whatever that takes."""

    async def ready() -> bool:
        figures = house.node.services.factory.figures()
        return bool(figures.pooled) if way == "pool" else figures.templates == 1

    names = ["first", "it"] if way == "template" else ["it"]
    for name in names:
        if name == "it":
            await eventually(ready)
        await house.containers.create(T, ContainerRequest("busybox", name=name, command=("sleep", "infinity")))
        await house.containers.start(T, name)


async def main(directory: Path, point: str, count: int, verb: str, arguments: list[str]) -> None:
    budget = {"pool_memory": 0} if verb == "template" else {}
    house = House(directory, clones=verb in CLONING, **budget)
    if point.startswith("recover:"):
        die_at(point.removeprefix("recover:"), count)
        await house.open()
    else:
        if verb in CLONING:  # what goes on behind the daemon's back begins at once
            die_at(point, count)
        await house.open()
        die_at(point, count)
    with contextlib.suppress(HypercellError):
        await perform(house, verb, arguments)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:]))
