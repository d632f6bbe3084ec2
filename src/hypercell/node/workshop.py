# SPDX-License-Identifier: Apache-2.0
"""Several things done to the files of a container that does not run, in one throw-away guest: a step of a build."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from hypercell.base.errors import HypercellError, NotFound
from hypercell.node import archive
from hypercell.node.container import Container
from hypercell.node.visit import Visit, visit

Json = dict[str, Any]


class Workshop:
    """Use one of its methods at a time. The container is not used any more afterwards: nothing is made durable."""

    def __init__(self, container: Container, here: Visit) -> None:
        self._container = container
        self._here = here

    async def stat(self, path: str) -> Json | None:
        """What *path* is; None if it is not there."""
        container = self._container
        try:
            members = {"container": container.id, "path": path}
            reply = await self._here.agent.request("archive.stat", members, container.services.bounds.request)
        except NotFound:
            return None
        return archive.stat_in(reply)

    async def put(self, path: str, body: AsyncIterator[bytes], chown: bool) -> None:
        """Unpack a tar into the directory *path*. *chown*: all of it becomes the container's user's."""
        await archive.unpack(self._here, self._container, path, body, False, chown)

    @contextlib.asynccontextmanager
    async def get(self, path: str) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """A tar of *path*."""
        async with self._stream("archive.get", path=path) as content:
            yield content

    @contextlib.asynccontextmanager
    async def layer(self) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """What was changed, as a layer of an image."""
        async with self._stream("container.layer") as content:
            yield content

    @contextlib.asynccontextmanager
    async def _stream(self, op: str, **members: Any) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        _, content = await archive.stream_of(self._here, self._container, op, stay=True, **members)
        async with contextlib.aclosing(await archive.begun(archive.whole(content))) as tar:
            yield tar


@contextlib.asynccontextmanager
async def workshop(container: Container) -> AsyncIterator[Workshop]:
    """Raises what a start may, but for what the container's program could be at fault for."""
    here = await visit(container, container.record.spec.oci["process"]["user"])
    try:
        yield Workshop(container, here)
    except HypercellError as error:
        raise await here.told(error) from error
    finally:
        await here.end()
