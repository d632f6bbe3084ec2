# SPDX-License-Identifier: Apache-2.0
"""The streams of one connection: which exist, whose they are, and when they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from hypercell.agent.contract import Json
from hypercell.agent.failure import agent_lost
from hypercell.agent.frames import ProtocolError
from hypercell.agent.input import Input, Writable
from hypercell.agent.output import Output
from hypercell.agent.requests import OnReply

_MAX_ID: Final = 2**32 - 1
_REMEMBERED: Final = 1024
_STANDARD: Final = ("stdin", "stdout", "stderr")
_TOUCHING: Final = frozenset(
    {
        "state",
        "container.create",
        "container.delete",
        "process.exec",
        "process.reap",
        "stream.close",
        "archive.get",
        "archive.put",
        "container.changes",
        "container.export",
        "container.layer",
    }
)

_Owner = tuple[str, str]
_Value = TypeVar("_Value")


class Streams:
    """Stream id -> stream. Requests are watched for the streams that they create and end."""

    def __init__(self, send: Callable[[bytes], None], writable: Writable) -> None:
        self.outputs: dict[int, Output] = {}
        self._inputs: dict[int, Input] = {}
        self._send = send
        self._writable = writable
        self._last = 0
        self._unborn: set[int] = set()
        self._owners: dict[int, _Owner] = {}
        self._early: dict[int, tuple[int, int]] = {}
        self._closed: dict[int, None] = {}
        self._failure: str | None = None

    # For the users of streams.

    def new(self) -> int:
        if self._last >= _MAX_ID:
            raise agent_lost("the stream ids of this VM are used up")
        self._last += 1
        self._unborn.add(self._last)
        return self._last

    def reserve(self, above: int) -> None:
        self._last = max(self._last, above)

    def output(self, stream: int, start: int) -> Output:
        """A stream that the guest does not know yet gets its credit with the reply that tells so."""
        if stream in self.outputs:
            raise ValueError(f"stream {stream} is open")
        output = Output(stream, start, self._send, self._drop)
        if self._failure is not None:
            output.fail(self._failure)
            return output
        self.outputs[stream] = output
        if stream not in self._unborn:
            output.announce()
        return output

    def input(self, stream: int, start: int) -> Input:
        if stream in self._inputs:
            raise ValueError(f"stream {stream} is open")
        made = Input(stream, start, self._send, self._writable)
        if self._failure is not None:
            made.fail(self._failure)
            return made
        self._inputs[stream] = made
        early = self._early.pop(stream, None)
        if early is not None:
            self.window(stream, *early)
        return made

    # For the connection.

    def window(self, stream: int, acknowledged: int, limit: int) -> None:
        """A WINDOW from the guest, maybe before somebody asked for the stream. Raises `ProtocolError`."""
        found = self._inputs.get(stream)
        if found is not None:
            found.window(acknowledged, limit)
            return
        if stream in self.outputs:
            raise ProtocolError(f"stream {stream}: a WINDOW for an output")
        _remember(self._early, stream, (acknowledged, limit))

    def unexpected_data(self, stream: int) -> None:
        """DATA for no open output: the guest may not know yet that it was closed. Raises `ProtocolError`."""
        if stream not in self._closed:
            raise ProtocolError(f"data for stream {stream}, which is not open")

    def fail(self, reason: str) -> None:
        self._failure = reason
        for output in self.outputs.values():
            output.fail(reason)
        for entry in self._inputs.values():
            entry.fail(reason)
        self.outputs.clear()
        self._inputs.clear()
        self._early.clear()

    def exited(self, container: str, process: str) -> None:
        """Nobody reads the input of a process that is gone."""
        for stream in self._of(container, process):
            if stream in self._inputs:
                self._inputs[stream].finish()

    def watch(self, op: str, members: Mapping[str, Any]) -> OnReply | None:
        """Called before a request goes out; what it returns is to be called with its reply, None for an ERROR."""
        if op not in _TOUCHING:
            return None
        if op in ("container.create", "process.exec"):
            owner = (str(members.get("container")), str(members.get("process", "init")))
            ids = [stream for stream in map(members.get, _STANDARD) if stream]
            self._owners.update(dict.fromkeys(ids, owner))
            return lambda reply: self._born(ids) if reply is not None else self._end(ids)
        if op in ("archive.get", "container.changes", "container.export", "container.layer"):
            ids = [members.get("stream")]
            return lambda reply: self._born(ids) if reply is not None else self._end(ids)
        if op == "archive.put":
            ids = [members.get("stream")]
            return lambda reply: self._end(ids)
        if op == "stream.close":
            if members.get("stream") in self.outputs:
                _remember(self._closed, members["stream"], None)
            self._end([members.get("stream")])
            return None
        return lambda reply: self._ended(op, members, reply)

    def _ended(self, op: str, members: Mapping[str, Any], reply: Json | None) -> None:
        if reply is None:
            return
        if op == "state":
            self._learn(reply)
        else:
            process = members.get("process") if op == "process.reap" else None
            self._end(self._of(str(members.get("container")), process))

    def _learn(self, state: Json) -> None:
        for container in state["containers"]:
            for process in container["processes"]:
                for name in _STANDARD:
                    if name in process:
                        self._owners[process[name]["stream"]] = (container["container"], process["process"])

    def _of(self, container: str, process: str | None) -> list[int]:
        return [
            stream
            for stream, owner in self._owners.items()
            if owner[0] == container and (process is None or owner[1] == process)
        ]

    def _born(self, ids: Iterable[Any]) -> None:
        for stream in ids:
            self._unborn.discard(stream)
            if stream in self.outputs:
                self.outputs[stream].announce()

    def _end(self, ids: Iterable[Any]) -> None:
        for stream in list(ids):
            if stream in self.outputs:
                self.outputs[stream].finish()
            if stream in self._inputs:
                self._inputs[stream].finish()
            self._drop(stream)

    def _drop(self, stream: int) -> None:
        self.outputs.pop(stream, None)
        self._inputs.pop(stream, None)
        self._owners.pop(stream, None)
        self._early.pop(stream, None)
        self._unborn.discard(stream)


def _remember(table: dict[int, _Value], stream: int, value: _Value) -> None:
    """Keep the last few: the guest cannot make the table grow."""
    table[stream] = value
    if len(table) > _REMEMBERED:
        del table[next(iter(table))]
