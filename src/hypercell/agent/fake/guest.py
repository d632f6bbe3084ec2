# SPDX-License-Identifier: Apache-2.0
"""A guest in memory: the agent's side of the protocol without a VM."""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import tarfile
import uuid
from collections.abc import Callable
from typing import Any

from hypercell.agent.fake.link import Faults, Link, Request
from hypercell.agent.fake.pipe import as_streams, memory_pipe
from hypercell.agent.fake.process import Container, GuestError, Process, find_program
from hypercell.agent.fake.streams import InputQueue, OutputRing
from hypercell.agent.fake.tree import Exists

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_FEATURES = ["exec", "archive", "stats", "seccomp", "pause", "update", "network", "clock", "sync"]
_MIB = 1024 * 1024


class FakeGuest:
    """One simulated VM. It answers as docs/agent-protocol.md says, and goes wrong as `faults` says.

    `on_shutdown()` is called when `shutdown` was answered; `on_death(reason)` when the VM dies by itself
    (`guest-panic` by the program `panic`, `hypervisor-killed` by a fault). Nothing answers afterwards.
    """

    def __init__(
        self,
        on_shutdown: Callable[[], None] = lambda: None,
        on_death: Callable[[str], None] = lambda reason: None,
        faults: Faults | None = None,
        kernel: str = "6.1.0-fake",
    ) -> None:
        self.faults = faults or Faults()
        self.boot_id = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
        self.hostname = "localhost"
        self.configuration: dict[str, Any] = {}
        self.fresh = True
        self.dead = False
        self.requests = 0
        self.synced = 0
        self.containers: dict[str, Container] = {}
        self._on_shutdown = on_shutdown
        self._on_death = on_death
        self._kernel = kernel
        self._link: Link | None = None
        self._pid = 1
        self._outputs: dict[int, OutputRing] = {}
        self._inputs: dict[int, InputQueue] = {}
        self._operations: dict[str, Callable[[Request], dict[str, Any] | None]] = {
            "ping": lambda request: {},
            "configure": self._configure,
            "network.update": self._network_update,
            "state": self._state,
            "container.create": self._create,
            "container.start": self._start,
            "container.delete": self._delete,
            "container.pause": self._pause,
            "container.resume": self._resume,
            "container.update": self._update,
            "container.stats": self._stats,
            "container.processes": self._processes,
            "process.exec": self._exec,
            "process.signal": self._signal,
            "process.resize": self._resize,
            "process.reap": self._reap,
            "stream.close": self._stream_close,
            "archive.get": self._archive_get,
            "archive.put": self._archive_put,
            "archive.stat": self._archive_stat,
            "sync": self._sync,
            "shutdown": self._shutdown,
        }

    # Connections.

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The host's end of a new connection in memory; an earlier connection ends. `ConnectionError` when dead."""
        if self.dead:
            raise ConnectionRefusedError("the fake guest is dead")
        host, guest = memory_pipe()
        streams = as_streams(host)
        self._take(guest)
        return streams

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the guest on a connection made elsewhere (a socket pair, say), until it ends."""
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        await self._take(transport).lost

    def _take(self, transport: asyncio.Transport) -> Link:
        if self._link is not None:
            self._link.hang_up()
        link = Link(self)
        self._link = link
        transport.set_protocol(link)
        link.connection_made(transport)
        if self.faults.boot_delay:
            transport.pause_reading()
            asyncio.get_running_loop().call_later(self.faults.boot_delay, transport.resume_reading)
            self.faults.boot_delay = 0.0
        elif not transport.is_reading():
            transport.resume_reading()
        return link

    def drop(self) -> None:
        """End the connection; the guest lives on."""
        if self._link is not None:
            self._link.hang_up()

    def send(self, data: bytes) -> None:
        """Send raw bytes to whoever is connected."""
        if self._link is not None:
            self._link.send_raw(data)

    def die(self, reason: str) -> None:
        """The VM is gone, as when its hypervisor was killed."""
        if not self.dead:
            self._stop()
            self._on_death(reason)

    def _stop(self) -> None:
        self.dead = True
        for container in self.containers.values():
            for process in container.processes.values():
                process.vanish()
        self.drop()

    def welcome(self) -> dict[str, Any]:
        return {
            "agent": "0.1.0",
            "features": _FEATURES,
            "kernel": self._kernel,
            "arch": "x86_64",
            "boot_id": self.boot_id,
            "fresh": self.fresh,
        }

    def greeted(self, link: Link) -> None:
        self._link = link
        for ring in self._outputs.values():
            ring.greeted()
        for queue in self._inputs.values():
            queue.greeted()

    def link_lost(self, link: Link) -> None:
        if self._link is link:
            self._link = None
            for ring in self._outputs.values():
                ring.greeted()

    def event(self, name: str, **members: Any) -> None:
        if self._link is not None:
            self._link.send_event({"event": name, **members})

    def data(self, stream: int, offset: int, payload: bytes, eof: bool) -> None:
        queue = self._inputs.get(stream)
        if queue is not None and (complaint := queue.data(offset, payload, eof)):
            self.event("log", level="error", message=complaint)

    def window(self, stream: int, acknowledged: int, limit: int) -> None:
        ring = self._outputs.get(stream)
        if ring is not None and (complaint := ring.window(acknowledged, limit)):
            self.event("log", level="error", message=complaint)

    def next_pid(self) -> int:
        self._pid += 1
        return self._pid

    # Operations.

    def carry_out(self, request: Request) -> dict[str, Any] | None:
        """The reply, or None if it comes later. Raises `GuestError`."""
        operation = self._operations.get(request.op)
        if operation is None:
            raise GuestError("unsupported", f"unknown op {request.op}")
        return operation(request)

    def _configure(self, request: Request) -> dict[str, Any]:
        self.configuration.update(request.members)
        self.hostname = request.members.get("hostname", self.hostname)
        self.fresh = False
        return {"boot_id": self.boot_id}

    def _network_update(self, request: Request) -> dict[str, Any]:
        self.configuration["interfaces"] = request.members.get("interfaces", [])
        return {}

    def _state(self, request: Request) -> dict[str, Any]:
        return {"configured": not self.fresh, "containers": [c.state() for c in self.containers.values()]}

    def _create(self, request: Request) -> dict[str, Any]:
        members = request.members
        name = _text(members, "container")
        if name in self.containers:
            raise GuestError("exists", f"container {name} exists")
        config = members.get("config")
        if not isinstance(config, dict) or not isinstance(config.get("process"), dict):
            raise GuestError("invalid", "config: no process")
        container = Container(self, name, config)
        for file in members.get("files", []):
            data = base64.b64decode(file["data"])
            container.tree.write(file["path"], data, file.get("mode", 0o644), file.get("uid", 0), file.get("gid", 0))
        process = Process(container, "init", config["process"])
        self._attach(process, members)
        process.rows, process.columns = members.get("rows", process.rows), members.get("columns", process.columns)
        container.processes["init"] = process
        self.containers[name] = container
        return {"pid": process.pid}

    def _attach(self, process: Process, members: dict[str, Any]) -> None:
        ids = [_number(members, name) for name in ("stdin", "stdout", "stderr")]
        taken = [ident for ident in ids if ident in self._inputs or ident in self._outputs]
        if taken:
            raise GuestError("exists", f"stream {taken[0]} exists")
        if process.terminal and ids[2]:
            raise GuestError("invalid", "a terminal has no stderr")
        stdin = self._new_input(ids[0]) if ids[0] else None
        process.attach(stdin, *(self._new_output(ident) if ident else None for ident in ids[1:]))

    def _new_output(self, ident: int) -> OutputRing:
        ring = self._outputs[ident] = OutputRing(ident, self._send)
        return ring

    def _new_input(self, ident: int) -> InputQueue:
        queue = self._inputs[ident] = InputQueue(ident, self._send)
        queue.greeted()
        return queue

    def _send(self, data: bytes) -> None:
        if self._link is not None:
            self._link.send(data)

    def _start(self, request: Request) -> dict[str, Any]:
        init = self._container(request).init
        if init.status != "created":
            raise GuestError("busy", f"the container is {init.status}")
        init.start()
        return {"pid": init.pid}

    def _delete(self, request: Request) -> dict[str, Any]:
        container = self._container(request)
        if container.init.status != "exited" and not request.members.get("force"):
            raise GuestError("busy", f"the container is {container.status}")
        for process in list(container.processes.values()):
            process.deliver(9)
            self._forget(process)
        del self.containers[container.name]
        return {}

    def _forget(self, process: Process) -> None:
        del process.container.processes[process.name]
        for ring in (process.stdout, process.stderr):
            if ring is not None:
                self._outputs.pop(ring.stream, None)
        if process.stdin is not None:
            self._inputs.pop(process.stdin.stream, None)

    def _pause(self, request: Request) -> dict[str, Any]:
        container = self._container(request)
        if container.status != "running":
            raise GuestError("busy", f"the container is {container.status}")
        container.pause()
        return {}

    def _resume(self, request: Request) -> dict[str, Any]:
        container = self._container(request)
        if container.status != "paused":
            raise GuestError("busy", f"the container is {container.status}")
        container.resume()
        return {}

    def _update(self, request: Request) -> dict[str, Any]:
        resources = request.members.get("resources")
        if not isinstance(resources, dict):
            raise GuestError("invalid", "resources: not an object")
        self._container(request).resources |= resources
        return {}

    def _exec(self, request: Request) -> dict[str, Any]:
        container = self._container(request)
        name, spec = _text(request.members, "process"), request.members.get("spec")
        if container.status != "running":
            raise GuestError("busy", f"the container is {container.status}")
        if name in container.processes:
            raise GuestError("exists", f"process {name} exists")
        if not isinstance(spec, dict):
            raise GuestError("invalid", "spec: not an object")
        process = Process(container, name, spec)
        find_program(process.args)
        self._attach(process, request.members)
        container.processes[name] = process
        asyncio.get_running_loop().call_soon(process.start)
        process.status = "running"
        return {"pid": process.pid}

    def _signal(self, request: Request) -> dict[str, Any]:
        number = _number(request.members, "signal")
        if not 0 <= number <= 64:
            raise GuestError("invalid", f"signal {number}")
        if request.members.get("all"):
            for process in self._container(request).running():
                process.deliver(number)
            return {}
        process = self._process(request)
        if process.status == "exited":
            raise GuestError("busy", "the process has ended")
        process.deliver(number)
        return {}

    def _resize(self, request: Request) -> dict[str, Any]:
        process = self._process(request)
        if not process.terminal:
            raise GuestError("busy", "the process has no terminal")
        process.rows, process.columns = _number(request.members, "rows"), _number(request.members, "columns")
        return {}

    def _reap(self, request: Request) -> dict[str, Any]:
        process = self._process(request)
        if process.status != "exited" or process.name == "init":
            raise GuestError("busy", "init, or a process that runs")
        self._forget(process)
        return {}

    def _stream_close(self, request: Request) -> dict[str, Any]:
        ident = _number(request.members, "stream")
        if ident in self._outputs:
            self._outputs[ident].discard()
        elif ident in self._inputs:
            queue = self._inputs[ident]
            queue.eof = True
            queue.on_input()
        else:
            raise GuestError("not-found", f"stream {ident}")
        return {}

    def _archive_stat(self, request: Request) -> dict[str, Any]:
        found = self._container(request).tree.stat(_path(request.members))
        if found is None:
            raise GuestError("not-found", f"{_path(request.members)}: no such file or directory")
        return {"stat": found}

    def _archive_get(self, request: Request) -> dict[str, Any]:
        answer = self._archive_stat(request)
        ring = self._new_output(_number(request.members, "stream"))
        rest = memoryview(self._container(request).tree.pack(_path(request.members)))

        def more() -> None:
            nonlocal rest
            rest = rest[ring.write(rest) :]
            if ring.done:
                self._outputs.pop(ring.stream, None)
            elif not rest:
                ring.close()

        ring.on_space = more
        more()
        return answer

    def _archive_put(self, request: Request) -> None:
        tree, path = self._container(request).tree, _path(request.members)
        if not tree.is_directory(path):
            raise GuestError("not-found", f"{path}: no such directory")
        keep = bool(request.members.get("no_overwrite_dir_non_dir"))
        queue = self._new_input(_number(request.members, "stream"))
        archive = bytearray()

        def more() -> None:
            while data := queue.take(65536):
                archive.extend(data)
            if len(archive) > 256 * _MIB:
                request.fail("no-space", "the archive is too large")
            elif not queue.at_end:
                return
            else:
                try:
                    tree.unpack(path, bytes(archive), keep)
                    request.reply({})
                except Exists as error:
                    request.fail("exists", f"{error}: cannot overwrite directory and non-directory")
                except tarfile.TarError as error:
                    request.fail("invalid", f"archive: {error}")
            self._inputs.pop(queue.stream, None)

        queue.on_input = more

    def _sync(self, request: Request) -> dict[str, Any]:
        self.synced += 1
        return {}

    def _shutdown(self, request: Request) -> None:
        request.reply({})
        loop = asyncio.get_running_loop()
        loop.call_soon(self._shut_down)

    def _shut_down(self) -> None:
        if not self.dead:
            self.dead = True
            if self._link is not None:
                self._link.close()
            self._on_shutdown()

    def _stats(self, request: Request) -> dict[str, Any]:
        container = self._container(request)
        limit = container.resources.get("memory", {}).get("limit", 0)
        usage = 4 * _MIB * max(1, len(container.running()))
        return {
            "cpu": dict.fromkeys(("usage_ns", "user_ns", "system_ns"), 10**6) | _zero("periods throttled throttled_ns"),
            "memory": {
                "usage": usage,
                "limit": max(0, limit),
                "max_usage": usage,
                "anon": usage,
                "fields": {"anon": usage, "file": 0},
                "oom_kills": container.oom_kills,
                **_zero("file inactive_file"),
            },
            "pids": {
                "current": len(container.running()),
                "limit": max(0, container.resources.get("pids", {}).get("limit", 0)),
            },
            "io": [{"major": 254, "minor": 0, **_zero("rbytes wbytes rios wios")}],
            "interfaces": [
                {"name": interface.get("name", "eth0"), **_zero(_INTERFACE)}
                for interface in self.configuration.get("interfaces", [])
            ],
            "cpus": 1,
            "system_cpu_ns": 10**9,
            "memory_total": 128 * _MIB,
        }

    def _processes(self, request: Request) -> dict[str, Any]:
        rows = [
            {
                "pid": 1 if process.name == "init" else process.pid,
                "ppid": 0,
                "comm": process.args[0].rpartition("/")[2][:15] if process.args else "",
                "args": process.args,
                "tty": "pts/0" if process.terminal else "?",
                "state": "S",
                **_zero("uid gid cpu_ticks start_ticks"),
            }
            for process in self._container(request).running()
        ]
        return {"processes": rows, "uptime_ns": 10**9, "ticks_per_second": 100}

    def _container(self, request: Request) -> Container:
        name = _text(request.members, "container")
        if name not in self.containers:
            raise GuestError("not-found", f"container {name}")
        return self.containers[name]

    def _process(self, request: Request) -> Process:
        container, name = self._container(request), _text(request.members, "process")
        if name not in container.processes:
            raise GuestError("not-found", f"process {name}")
        return container.processes[name]


_INTERFACE = " ".join(f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped"))


def _zero(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), 0)


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise GuestError("invalid", f"{name}: not a name")
    return value


def _number(members: dict[str, Any], name: str) -> int:
    value = members.get(name, 0)
    if type(value) is not int or value < 0:
        raise GuestError("invalid", f"{name}: not a number")
    return value


def _path(members: dict[str, Any]) -> str:
    value = members.get("path")
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise GuestError("invalid", "path: not absolute")
    return value
