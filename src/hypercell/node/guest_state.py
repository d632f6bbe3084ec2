# SPDX-License-Identifier: Apache-2.0
"""The agent's `state` (docs/agent-protocol.md), believed only after every value was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypercell.base.errors import VmFailed

_STATUSES = frozenset({"created", "running", "paused", "stopped", "exited"})
_U32, _U64 = 2**32, 2**64


@dataclass(frozen=True, slots=True)
class StreamState:
    stream: int
    position: int
    """Bytes that the guest has received (stdin), or has had to send in all (stdout, stderr)."""
    ended: bool


@dataclass(frozen=True, slots=True)
class ProcessState:
    id: str
    pid: int
    status: str
    code: int
    signal: int
    oom: bool
    exited_ns: int
    stdin: StreamState | None
    stdout: StreamState | None
    stderr: StreamState | None

    @property
    def exited(self) -> bool:
        return self.status == "exited"


@dataclass(frozen=True, slots=True)
class ContainerState:
    id: str
    status: str
    processes: Mapping[str, ProcessState]

    @property
    def init(self) -> ProcessState | None:
        return self.processes.get("init")


def parse(reply: Mapping[str, Any]) -> dict[str, ContainerState]:
    """Containers by id. Raises `VmFailed("agent-lost")` for an answer that is none."""
    try:
        found = [_container(entry) for entry in _list(reply, "containers")]
    except (TypeError, ValueError, KeyError) as error:
        raise VmFailed(f"the agent's state makes no sense ({error})", "agent-lost") from error
    containers = {container.id: container for container in found}
    streams = _streams(containers)
    if len(set(streams)) < len(streams):
        raise VmFailed("the agent's state makes no sense (one stream for two)", "agent-lost")
    return containers


def highest_stream(containers: Mapping[str, ContainerState]) -> int:
    """The highest stream id in use; 0 if there is none."""
    return max(_streams(containers), default=0)


def _streams(containers: Mapping[str, ContainerState]) -> list[int]:
    return [
        stream.stream
        for container in containers.values()
        for process in container.processes.values()
        for stream in (process.stdin, process.stdout, process.stderr)
        if stream is not None
    ]


def _container(entry: Mapping[str, Any]) -> ContainerState:
    processes = [_process(process) for process in _list(entry, "processes")]
    by_id = {process.id: process for process in processes}
    return ContainerState(_text(entry, "container"), _status(entry), by_id)


def _process(entry: Mapping[str, Any]) -> ProcessState:
    return ProcessState(
        id=_text(entry, "process"),
        pid=_number(entry, "pid", _U32),
        status=_status(entry),
        code=_number(entry, "code", 256),
        signal=_number(entry, "signal", 128),
        oom=entry.get("oom") is True,
        exited_ns=_number(entry, "exited_ns", _U64),
        stdin=_stream(entry.get("stdin"), "received", "closed"),
        stdout=_stream(entry.get("stdout"), "end", "eof"),
        stderr=_stream(entry.get("stderr"), "end", "eof"),
    )


def _stream(entry: Any, position: str, ended: str) -> StreamState | None:
    if not entry:
        return None
    ident = _number(entry, "stream", _U32)
    return StreamState(ident, _number(entry, position, _U64), entry.get(ended) is True) if ident else None


def _list(entry: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = entry.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError(f"{name} is no list of objects")
    return value


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or len(value) > 64:
        raise TypeError(f"{name} is no name")
    return value


def _status(entry: Mapping[str, Any]) -> str:
    value = _text(entry, "status")
    if value not in _STATUSES:
        raise ValueError("unknown status")
    return value


def _number(entry: Mapping[str, Any], name: str, below: int) -> int:
    value = entry.get(name, 0) or 0
    if type(value) is not int or not 0 <= value < below:
        raise ValueError(f"{name} is out of range")
    return value
