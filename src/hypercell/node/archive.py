# SPDX-License-Identifier: Apache-2.0
"""Files into and out of a container, as tar streams that only the guest packs and unpacks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from hypercell.agent.contract import Agent, OutputStream
from hypercell.base.errors import HypercellError, Unsupported
from hypercell.node.container import Container

Json = dict[str, Any]
UNPACK_BOUND = 3600.0
"""Seconds that the guest may take between the end of a tar and its answer."""


async def stat(container: Container, path: str) -> Json:
    _agent(container)
    return _stat(await container.request("archive.stat", path=path))


async def get(container: Container, path: str) -> tuple[Json, AsyncIterator[bytes]]:
    """What `path` is, and a PAX tar of it."""
    agent = _agent(container)
    ident = agent.new_stream()
    stream = agent.output(ident)
    reply = await container.request("archive.get", path=path, stream=ident)
    content = _read(agent, ident, stream)
    await anext(content)  # from here on its end is the stream's end, even if nobody ever reads it
    return _stat(reply), content


async def _read(agent: Agent, ident: int, stream: OutputStream) -> AsyncGenerator[bytes, None]:
    ended = False
    try:
        yield b""
        while data := await stream.read():
            yield data
            stream.acknowledge(stream.position)
        stream.acknowledge(stream.position + 1)
        ended = True
    finally:
        if not ended:  # the client has gone
            with contextlib.suppress(HypercellError):
                await agent.request("stream.close", {"stream": ident})


async def put(
    container: Container, path: str, body: AsyncIterator[bytes], no_overwrite_dir_non_dir: bool, copy_uid_gid: bool
) -> None:
    """Unpack a tar into the directory `path`."""
    agent = _agent(container)
    ident = agent.new_stream()
    members = {
        "container": container.id,
        "path": path,
        "stream": ident,
        "no_overwrite_dir_non_dir": no_overwrite_dir_non_dir,
        "copy_uid_gid": copy_uid_gid,
    }
    unpacking = asyncio.ensure_future(agent.request("archive.put", members, UNPACK_BOUND))
    sending = asyncio.ensure_future(_send(agent, ident, body))
    try:
        await asyncio.wait({unpacking, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not unpacking.done():
            sending.result()  # the client's error, if it was one
        await unpacking
    finally:
        for task in (sending, unpacking):
            task.cancel()
        await asyncio.gather(sending, unpacking, return_exceptions=True)


async def _send(agent: Agent, ident: int, body: AsyncIterator[bytes]) -> None:
    stream = agent.input(ident)
    try:
        async for chunk in body:
            await stream.write(chunk)
    finally:
        await stream.close()


def _agent(container: Container) -> Agent:
    # Only a guest mounts a container's disk, and a container that is stopped has none.
    if container.run is None:
        raise Unsupported(f"cannot copy files of container {container.id[:12]}: it is not running", "start it first")
    return container.agent()


def _stat(reply: Json) -> Json:
    found = reply.get("stat")
    return found if isinstance(found, dict) else {}
