# SPDX-License-Identifier: Apache-2.0
"""`POST /containers/{id}/attach`, the same as a WebSocket, and the pump between a client's connection and a process's
streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from hypercell.api.docker.detach import KeyFilter, parse_keys
from hypercell.api.docker.engine import Call
from hypercell.api.docker.framing import frame, media_type
from hypercell.api.docker.query import flag
from hypercell.api.http import Hijack, RawStream
from hypercell.api.http.handshake import accept
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
    half_close: bool = True
    """The end of a client's input leaves it reading."""


async def attach_container(call: Call) -> Hijack:
    attachment, wires = await _attach(call)
    ends_with_input = _end_of_input(call, attachment)

    async def run(stream: RawStream) -> None:
        await pump(stream, attachment, wires, ends_with_input)

    return Hijack(run, media_type(attachment.tty, call.version, call.header("upgrade") != ""))


async def attach_websocket(call: Call) -> Hijack:
    """In messages, binary ones (text before API 1.28), that tell the outputs not apart: as dockerd."""
    from hypercell.api.http.websocket import WebSocketStream  # hardly anybody asks for it

    headers = accept(call)
    attachment, wires = await _attach(call)
    wires = replace(wires, multiplexed=False, half_close=False)
    ends_with_input = _end_of_input(call, attachment)

    async def run(stream: RawStream) -> None:
        messages = WebSocketStream(stream, text=call.version < (1, 28))
        with contextlib.suppress(ConnectionError):  # it closes in the middle of what we send
            await pump(messages, attachment, wires, ends_with_input)
            await messages.close()

    return Hijack(run, protocol="websocket", headers=headers)


async def _attach(call: Call) -> tuple[Attachment, Wires]:
    engine, query = call.app, call.query
    keys = parse_keys(query.get("detachKeys"))
    stdin, stdout, stderr = flag(query, "stdin"), flag(query, "stdout"), flag(query, "stderr")
    attachment = await engine.containers.attach(
        engine.tenant,
        call.params["name"],
        stdin,
        stdout,
        stderr,
        stream=flag(query, "stream"),
        logs=flag(query, "logs"),
    )
    return attachment, Wires(stdin, stdout, stderr, not attachment.tty, keys if attachment.tty else b"")


def _end_of_input(call: Call, attachment: Attachment) -> Callable[[], Awaitable[bool]]:
    engine, name = call.app, call.params["name"]

    async def ends_with_input() -> bool:
        # As dockerd: the end of input ends the whole attachment, unless the container's stdin is this client's.
        view = await engine.containers.inspect(engine.tenant, name)
        return attachment.tty or not view.request.stdin_once

    return ends_with_input


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
    if not wires.half_close:
        await attachment.detach()
    elif wires.stdin:
        if await ends_with_input():
            await attachment.detach()
        else:
            await attachment.close_stdin()
