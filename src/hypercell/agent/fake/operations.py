# SPDX-License-Identifier: Apache-2.0
"""What a fake guest does for each request (docs/agent-protocol.md, "Requests")."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypercell.agent.fake import archive, report
from hypercell.agent.fake.link import Request
from hypercell.agent.fake.members import GuestError, name_of, number_of, object_of
from hypercell.agent.fake.process import Container, Process, find_program

if TYPE_CHECKING:
    from hypercell.agent.fake.guest import FakeGuest

Answer = dict[str, Any]


def _container(guest: FakeGuest, request: Request) -> Container:
    name = name_of(request.members, "container")
    if name not in guest.containers:
        raise GuestError("not-found", f"container {name}")
    return guest.containers[name]


def _process(guest: FakeGuest, request: Request) -> Process:
    container, name = _container(guest, request), name_of(request.members, "process")
    if name not in container.processes:
        raise GuestError("not-found", f"process {name}")
    return container.processes[name]


def _expect(container: Container, status: str) -> None:
    if container.status != status:
        raise GuestError("busy", f"the container is {container.status}")


# The VM.


def _ping(guest: FakeGuest, request: Request) -> Answer:
    return {}


def _configure(guest: FakeGuest, request: Request) -> Answer:
    return guest.configure(request.members)


def _network_update(guest: FakeGuest, request: Request) -> Answer:
    guest.configuration["interfaces"] = request.members.get("interfaces", [])
    return {}


def _state(guest: FakeGuest, request: Request) -> Answer:
    return {"configured": not guest.fresh, "containers": [c.state() for c in guest.containers.values()]}


def _sync(guest: FakeGuest, request: Request) -> Answer:
    return {}


def _shutdown(guest: FakeGuest, request: Request) -> Answer:
    asyncio.get_running_loop().call_soon(guest.shut_down)
    return {}


# Containers.


def _create(guest: FakeGuest, request: Request) -> Answer:
    members = request.members
    name = name_of(members, "container")
    if name in guest.containers:
        raise GuestError("exists", f"container {name} exists")
    config = object_of(members, "config")
    container = Container(guest, name, config)
    _write_files(container, members.get("files", []))
    container.tree.settle()
    process = Process(container, "init", object_of(config, "process"))
    _attach(guest, process, members)
    process.rows, process.columns = members.get("rows", process.rows), members.get("columns", process.columns)
    container.processes["init"] = process
    guest.containers[name] = container
    return {"pid": process.pid}


def _write_files(container: Container, files: Any) -> None:
    try:
        for file in files:
            data = base64.b64decode(file["data"], validate=True)
            container.tree.write(file["path"], data, file.get("mode", 0o644), file.get("uid", 0), file.get("gid", 0))
    except (TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise GuestError("invalid", f"files: {error}") from None


def _attach(guest: FakeGuest, process: Process, members: dict[str, Any]) -> None:
    stdin, stdout, stderr = (number_of(members, name) for name in ("stdin", "stdout", "stderr"))
    if process.terminal and stderr:
        raise GuestError("invalid", "a terminal has no stderr")
    process.attach(
        guest.new_input(stdin) if stdin else None,
        guest.new_output(stdout) if stdout else None,
        guest.new_output(stderr) if stderr else None,
    )


def _start(guest: FakeGuest, request: Request) -> Answer:
    container = _container(guest, request)
    _expect(container, "created")
    container.init.start()
    return {"pid": container.init.pid}


def _delete(guest: FakeGuest, request: Request) -> Answer:
    container = _container(guest, request)
    if not request.members.get("force"):
        _expect(container, "stopped")
    for process in list(container.processes.values()):
        process.deliver(9)
        guest.forget(process)
    del guest.containers[container.name]
    return {}


def _pause(guest: FakeGuest, request: Request) -> Answer:
    container = _container(guest, request)
    _expect(container, "running")
    container.paused = True
    return {}


def _resume(guest: FakeGuest, request: Request) -> Answer:
    container = _container(guest, request)
    _expect(container, "paused")
    container.resume()
    return {}


def _update(guest: FakeGuest, request: Request) -> Answer:
    resources = object_of(request.members, "resources")
    _container(guest, request).resources.update(resources)
    return {}


def _stats(guest: FakeGuest, request: Request) -> Answer:
    return report.stats(_container(guest, request))


def _processes(guest: FakeGuest, request: Request) -> Answer:
    return report.processes(_container(guest, request))


# Processes and their streams.


def _exec(guest: FakeGuest, request: Request) -> Answer:
    container = _container(guest, request)
    name, spec = name_of(request.members, "process"), object_of(request.members, "spec")
    _expect(container, "running")
    if name in container.processes:
        raise GuestError("exists", f"process {name} exists")
    process = Process(container, name, spec)
    find_program(process.args)
    _attach(guest, process, request.members)
    container.processes[name] = process
    process.status = "running"
    asyncio.get_running_loop().call_soon(process.start)
    return {"pid": process.pid}


def _signal(guest: FakeGuest, request: Request) -> Answer:
    number = number_of(request.members, "signal")
    if number > 64:
        raise GuestError("invalid", f"signal {number}")
    if request.members.get("all"):
        for process in _container(guest, request).running():
            process.deliver(number)
        return {}
    process = _process(guest, request)
    if process.status == "exited":
        raise GuestError("busy", "the process has ended")
    process.deliver(number)
    return {}


def _resize(guest: FakeGuest, request: Request) -> Answer:
    process = _process(guest, request)
    if not process.terminal:
        raise GuestError("busy", "the process has no terminal")
    process.rows, process.columns = number_of(request.members, "rows"), number_of(request.members, "columns")
    return {}


def _reap(guest: FakeGuest, request: Request) -> Answer:
    process = _process(guest, request)
    if process.status != "exited" or process.name == "init":
        raise GuestError("busy", "init, or a process that runs")
    guest.forget(process)
    return {}


def _stream_close(guest: FakeGuest, request: Request) -> Answer:
    ident = number_of(request.members, "stream")
    if ident in guest.outputs:
        guest.outputs[ident].discard()
    elif ident in guest.inputs:
        guest.inputs[ident].end()
    else:
        raise GuestError("not-found", f"stream {ident}")
    return {}


# Archives.


def _archive_stat(guest: FakeGuest, request: Request) -> Answer:
    return archive.look(_container(guest, request), request.members)


def _archive_get(guest: FakeGuest, request: Request) -> Answer:
    return archive.get(guest, _container(guest, request), request.members)


def _archive_put(guest: FakeGuest, request: Request) -> None:
    archive.put(guest, _container(guest, request), request)


def _changes(guest: FakeGuest, request: Request) -> Answer:
    return archive.changes(guest, _container(guest, request), request.members)


def _export(guest: FakeGuest, request: Request) -> Answer:
    return archive.export(guest, _container(guest, request), request.members)


def _layer(guest: FakeGuest, request: Request) -> Answer:
    return archive.layer(guest, _container(guest, request), request.members)


OPERATIONS: dict[str, Callable[[FakeGuest, Request], Answer | None]] = {
    "ping": _ping,
    "configure": _configure,
    "network.update": _network_update,
    "state": _state,
    "sync": _sync,
    "shutdown": _shutdown,
    "container.create": _create,
    "container.start": _start,
    "container.delete": _delete,
    "container.pause": _pause,
    "container.resume": _resume,
    "container.update": _update,
    "container.stats": _stats,
    "container.processes": _processes,
    "process.exec": _exec,
    "process.signal": _signal,
    "process.resize": _resize,
    "process.reap": _reap,
    "stream.close": _stream_close,
    "archive.stat": _archive_stat,
    "archive.get": _archive_get,
    "archive.put": _archive_put,
    "container.changes": _changes,
    "container.export": _export,
    "container.layer": _layer,
}
