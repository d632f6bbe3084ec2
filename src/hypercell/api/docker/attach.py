# SPDX-License-Identifier: Apache-2.0
"""`POST /containers/{id}/attach`, and the pump between a client's raw connection and a process's streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hypercell.api.docker.detach import KeyFilter, parse_keys
from hypercell.api.docker.engine import Call
from hypercell.api.docker.framing import frame, media_type
from hypercell.api.docker.query import flag
from hypercell.api.http import Hijack, RawStream
from hypercell.base.errors import HypercellError
from hypercell.cloud.contract import Attachment, Output


@dataclass(frozen=True, slots=True)
class Wires:
    """Which streams a client wants, and how."""

    stdin: bool
    stdout: bool
    stderr: bool
    multiplexed: bool
    keys: bytes
    """Detach keys; empty: none are looked for (no terminal)."""


async def attach_container(call: Call) -> Hijack:
    engine, query = call.app, call.query
    name = call.params["name"]
    keys = parse_keys(query.get("detachKeys"))
    stdin, stdout, stderr = flag(query, "stdin"), flag(query, "stdout"), flag(query, "stderr")
    attachment = await engine.containers.attach(
        engine.tenant, name, stdin, stdout, stderr, stream=flag(query, "stream"), logs=flag(query, "logs")
    )
    wires = Wires(stdin, stdout, stderr, not attachment.tty, keys if attachment.tty else b"")

    async def ends_with_input() -> bool:
        # As dockerd: the end of input ends the whole attachment, unless the container's stdin is this client's.
        view = await engine.containers.inspect(engine.tenant, name)
        return attachment.tty or not view.request.stdin_once

    async def run(stream: RawStream) -> None:
        await pump(stream, attachment, wires, ends_with_input)

    return Hijack(run, media_type(attachment.tty, call.version, call.header("upgrade") != ""))


async def pump(
    stream: RawStream, attachment: Attachment, wires: Wires, ends_with_input: Callable[[], Awaitable[bool]]
) -> None:
    """Copy both ways until the process ends, the client types the detach keys, or the client goes away."""
    wanted = {Output.STDOUT: wires.stdout, Output.STDERR: wires.stderr}
    feeder = asyncio.create_task(_feed(stream, attachment, wires, ends_with_input))
    try:
        async for output, data in attachment.output():
            if wanted[output]:
                await stream.write(frame(output, data) if wires.multiplexed else data)
    finally:
        feeder.cancel()
        await attachment.detach()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError, HypercellError):
            await feeder


async def _feed(
    stream: RawStream, attachment: Attachment, wires: Wires, ends_with_input: Callable[[], Awaitable[bool]]
) -> None:
    """Carry the client's input to the process."""
    keys = KeyFilter(wires.keys) if wires.keys else None
    while data := await stream.read():
        if not wires.stdin:
            continue
        if keys is not None:
            data = keys.feed(data)
        if data:
            await attachment.write(data)
        if keys is not None and keys.detached:
            await attachment.detach()
            return
    if wires.stdin:
        if await ends_with_input():
            await attachment.detach()
        else:
            await attachment.close_stdin()
