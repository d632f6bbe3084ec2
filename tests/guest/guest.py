# SPDX-License-Identifier: Apache-2.0
"""A VM with an agent in it, driven by nothing but the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypercell.agent import Client, connect
from hypercell.vm.driver import Vm
from tests.guest.specifications import ROOT, config, process
from tests.support.vm import GREETING

PATIENCE = 40.0
"""Seconds for anything that a slow machine may take its time for."""


@dataclass
class Streams:
    """Ids, to follow streams over connections."""

    stdin: int = 0
    stdout: int = 0
    stderr: int = 0

    def members(self) -> dict[str, int]:
        return {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr}


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: bytes
    stderr: bytes
    event: dict[str, Any]


class Guest:
    def __init__(self, vm: Vm) -> None:
        self.vm = vm
        self.events: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    async def connect(self) -> Client:
        self.agent: Client = await connect(self.vm.connect_agent, self._on_event, GREETING)
        return self.agent

    async def reconnect(self) -> Client:
        await self.agent.close()
        return await self.connect()

    def _on_event(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self._changed.set()

    async def event(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first such event, which is then forgotten."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if wanted(event):
                        self.events.remove(event)
                        return event
                self._changed.clear()
                await self._changed.wait()

    async def exit(self, container: str, name: str = "init") -> dict[str, Any]:
        return await self.event(
            lambda e: e["event"] == "process.exited" and (e["container"], e["process"]) == (container, name)
        )

    async def ask(self, op: str, **members: Any) -> dict[str, Any]:
        return await self.agent.request(op, members, PATIENCE)

    def streams(self, *, stdin: bool = False, terminal: bool = False) -> Streams:
        new = self.agent.new_stream
        return Streams(new() if stdin else 0, new(), 0 if terminal else new())

    async def create(self, container: str, specification: dict[str, Any], *, root: Any = ROOT, **other: Any) -> Streams:
        terminal = specification["process"].get("terminal", False)
        streams = self.streams(stdin=other.pop("stdin", False), terminal=terminal)
        members = {"container": container, "root": root, "config": specification, **streams.members(), **other}
        await self.ask("container.create", **members)
        return streams

    async def start(self, container: str, *args: str, **other: Any) -> Streams:
        outer = {key: other.pop(key) for key in ("root", "stdin", "files", "rows", "columns") if key in other}
        streams = await self.create(container, config(*args, **other), **outer)
        await self.ask("container.start", container=container)
        return streams

    async def read(self, stream: int, start: int = 0) -> bytes:
        """All that is left of an output, acknowledged as it comes."""
        output = self.agent.output(stream, start)
        found = bytearray()
        while chunk := await output.read():
            found += chunk
            output.acknowledge(output.position)
        output.acknowledge(output.position + 1)
        return bytes(found)

    async def write(self, stream: int, data: bytes) -> None:
        entry = self.agent.input(stream)
        await entry.write(data)
        await entry.close()

    async def _finish(self, container: str, name: str, streams: Streams, data: bytes | None) -> Ended:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            if data is not None:
                group.create_task(self.write(streams.stdin, data))
            out = group.create_task(self.read(streams.stdout))
            err = group.create_task(self.read(streams.stderr)) if streams.stderr else None
        event = await self.exit(container, name)
        return Ended(event["code"], out.result(), err.result() if err else b"", event)

    async def run(self, container: str, *args: str, data: bytes | None = None, **other: Any) -> Ended:
        """A container from its creation to its deletion."""
        streams = await self.start(container, *args, stdin=data is not None, **other)
        ended = await self._finish(container, "init", streams, data)
        await self.ask("container.delete", container=container)
        return ended

    async def begin(self, container: str, name: str, *args: str, stdin: bool = False, **other: Any) -> Streams:
        """An exec that goes on."""
        streams = self.streams(stdin=stdin, terminal=other.get("terminal", False))
        specification = process(*args, **other)
        await self.ask("process.exec", container=container, process=name, spec=specification, **streams.members())
        return streams

    async def execute(
        self, container: str, *args: str, data: bytes | None = None, name: str = "x", **other: Any
    ) -> Ended:
        """An exec from its start to its reaping."""
        streams = await self.begin(container, name, *args, stdin=data is not None, **other)
        ended = await self._finish(container, name, streams, data)
        await self.ask("process.reap", container=container, process=name)
        return ended

    async def state(self, container: str, name: str = "init") -> dict[str, Any]:
        """What `state` says of a process."""
        for found in (await self.ask("state"))["containers"]:
            if found["container"] == container:
                return next(entry for entry in found["processes"] if entry["process"] == name)
        raise KeyError(container)
