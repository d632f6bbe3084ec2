# SPDX-License-Identifier: Apache-2.0
"""Files into and out of a container, as tar streams that only the guest packs and unpacks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from hypercell.agent.contract import Agent, OutputStream
from hypercell.base.errors import HypercellError, Internal
from hypercell.node.container import Container
from hypercell.node.visit import Visit, visit

Json = dict[str, Any]
UNPACK_BOUND = 3600.0
"""Seconds that the guest may take between the end of a tar and its answer."""
_BLOCK = 512
"""What a tar is made of."""
_END = bytes(2 * _BLOCK)
"""What it ends with."""


async def stat(container: Container, path: str) -> Json:
    here = await visit(container, volumes=True)
    try:
        members = {"container": container.id, "path": path}
        return stat_in(await here.agent.request("archive.stat", members, container.services.bounds.request))
    except HypercellError as error:
        raise await here.told(error) from error
    finally:
        await here.end()


async def get(container: Container, path: str) -> tuple[Json, AsyncIterator[bytes]]:
    """What `path` is, and a PAX tar of it."""
    here = await visit(container, volumes=True)
    reply, content = await stream_of(here, container, "archive.get", path=path)
    return stat_in(reply), await begun(whole(content))


async def export(container: Container) -> AsyncIterator[bytes]:
    """A PAX tar of the whole root, without what is mounted in it."""
    _, content = await stream(container, "container.export")
    return await begun(whole(content))


async def layer(container: Container) -> AsyncGenerator[bytes, None]:
    """A tar of what was changed in its root, as a layer of an image (OCI image-spec, `layer.md`). Close it."""
    _, content = await stream(container, "container.layer")
    return await begun(whole(content))


async def stream(container: Container, op: str, **members: Any) -> tuple[Json, AsyncGenerator[bytes, None]]:
    """The answer to an operation that writes to a stream, and that stream. Close it."""
    return await stream_of(await visit(container), container, op, **members)


async def stream_of(
    here: Visit, container: Container, op: str, stay: bool = False, **members: Any
) -> tuple[Json, AsyncGenerator[bytes, None]]:
    """The same of a visit under way, which ends with the stream unless it is to *stay*."""
    try:
        agent, ident = here.agent, here.agent.new_stream()
        output = agent.output(ident)
        wanted = {"container": container.id, "stream": ident, **members}
        reply = await agent.request(op, wanted, container.services.bounds.request)
        return reply, await begun(_read(here, ident, output, stay))
    except BaseException as error:
        if not stay:
            await here.end()
        if isinstance(error, HypercellError):
            raise await here.told(error) from error
        raise


async def begun(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """From here on its end is the stream's end, even if nobody ever reads it. Its first chunk is empty."""
    await anext(content)
    return content


async def _read(here: Visit, ident: int, output: OutputStream, stay: bool) -> AsyncGenerator[bytes, None]:
    ended = False
    try:
        here.go_on()
        yield b""
        here.rest()
        while data := await output.read():
            here.go_on()
            yield data
            here.rest()
            output.acknowledge(output.position)
        output.acknowledge(output.position + 1)
        ended = True
    except HypercellError as error:
        raise await here.told(error) from error
    finally:
        if not ended:  # the client has gone
            with contextlib.suppress(HypercellError):
                await here.agent.request("stream.close", {"stream": ident})
        if not stay:
            await here.end()


async def whole(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A tar as it comes. Raises `Internal` at its end if the guest broke it off, or whoever packed it there was killed:
    nobody may take it for complete."""
    length, last = 0, b""
    async with contextlib.aclosing(content):
        yield b""
        async for data in content:
            length += len(data)
            last = (last + data[-len(_END) :])[-len(_END) :]
            yield data
    if length % _BLOCK or last != _END:
        raise Internal("the archive broke off", "see the daemon's log: a tree may be too deep, or a disk broken")


async def put(
    container: Container, path: str, body: AsyncIterator[bytes], no_overwrite_dir_non_dir: bool, copy_uid_gid: bool
) -> None:
    """Unpack a tar into the directory `path`."""
    user = container.record.spec.oci["process"]["user"] if copy_uid_gid else None
    here = await visit(container, user, volumes=True)
    try:
        await unpack(here, container, path, body, no_overwrite_dir_non_dir, copy_uid_gid)
    except HypercellError as error:
        raise await here.told(error) from error
    finally:
        here.wrote = True
        await here.end()


async def unpack(
    here: Visit, container: Container, path: str, body: AsyncIterator[bytes], no_overwrite: bool, copy_uid_gid: bool
) -> None:
    agent, ident = here.agent, here.agent.new_stream()
    members = {
        "container": container.id,
        "path": path,
        "stream": ident,
        "no_overwrite_dir_non_dir": no_overwrite,
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


def stat_in(reply: Json) -> Json:
    found = reply.get("stat")
    return found if isinstance(found, dict) else {}
