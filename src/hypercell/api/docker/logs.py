# SPDX-License-Identifier: Apache-2.0
"""`GET /containers/{id}/logs`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hypercell.api.docker.engine import Call
from hypercell.api.docker.framing import SYSTEM_ERROR, frame, media_type
from hypercell.api.docker.log_attributes import attributes, encoded
from hypercell.api.docker.query import flag, timestamp
from hypercell.api.docker.times import rfc3339_fixed
from hypercell.api.http import Query, StreamResponse
from hypercell.base.digits import is_digits
from hypercell.base.errors import HypercellError, InvalidArgument
from hypercell.cloud.contract import ContainerView, LogQuery, LogRecord, Output


async def container_logs(call: Call) -> StreamResponse:
    engine, query = call.app, call.query
    wanted = _query(query)
    name = call.params["name"]
    view = await engine.containers.inspect(engine.tenant, name)
    tty = view.request.tty
    records = engine.containers.logs(engine.tenant, view.id, wanted)
    details = _details(view) if flag(query, "details") else b""
    lines = _lines(records, flag(query, "timestamps"), details, tty)
    return StreamResponse(lines, content_type=media_type(tty, call.version))


def _details(view: ContainerView) -> bytes:
    """What stands before each line: a blank at least, as with docker."""
    config = view.request.door.get("HostConfig", {}).get("LogConfig", {})
    return encoded(attributes(view, config.get("Config", {}))) + b" "


def _query(query: Query) -> LogQuery:
    stdout, stderr = flag(query, "stdout"), flag(query, "stderr")
    if not stdout and not stderr:
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    tail = query.get("tail", "all")
    return LogQuery(
        stdout=stdout,
        stderr=stderr,
        follow=flag(query, "follow"),
        since_ns=timestamp(query, "since"),
        until_ns=timestamp(query, "until"),
        tail=int(tail) if is_digits(tail) else -1,
    )


async def _lines(
    records: AsyncIterator[LogRecord], timestamps: bool, details: bytes, tty: bool
) -> AsyncIterator[bytes]:
    middle: dict[Output, bool] = {}
    """Streams whose last record was a piece of a line: the next one is no new line and gets no time stamp."""
    gathered: list[bytes] = []
    """Each is a frame of its own, as with dockerd; they are sent in one go."""
    try:
        async for record in records:
            data = record.data
            if not middle.get(record.stream):
                prefix = f"{rfc3339_fixed(record.time_ns)} " if timestamps else ""
                data = prefix.encode() + details + data
            middle[record.stream] = not record.data.endswith(b"\n")
            gathered.append(data if tty else frame(record.stream, data))
            if not record.more:
                yield b"".join(gathered)
                gathered.clear()
    except HypercellError as error:
        text = f"Error grabbing logs: {error}\n".encode()
        yield b"".join([*gathered, text if tty else frame(SYSTEM_ERROR, text)])
