# SPDX-License-Identifier: Apache-2.0
"""A container's writable layer as a layer of an image (docker commit). The guest makes it; a container that runs may be
paused meanwhile, so that nothing changes between its first file and its last."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from hypercell.base.errors import HypercellError
from hypercell.node import archive
from hypercell.node.container import Container
from hypercell.node.types import Status


@contextlib.asynccontextmanager
async def layer(container: Container, pause: bool) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """The tar. One that was paused before stays so. Raises what a start may, and `Internal` if the tar breaks off."""
    async with contextlib.AsyncExitStack() as stack:
        if pause:
            await stack.enter_async_context(_paused(container))
        yield await stack.enter_async_context(contextlib.aclosing(await archive.layer(container)))


@contextlib.asynccontextmanager
async def _paused(container: Container) -> AsyncIterator[None]:
    if container.status is not Status.RUNNING:
        yield
        return
    await container.pause()
    try:
        yield
    finally:
        # It may have ended, or somebody else may have gone on with it; who calls off a commit does not leave it paused.
        with contextlib.suppress(HypercellError):
            await container.services.tasks.complete(container.unpause(), f"unpause {container.id[:12]}")
