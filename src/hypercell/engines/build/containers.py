# SPDX-License-Identifier: Apache-2.0
"""The containers of one build: each step that needs a guest has one of its own, which goes with the step.

They are containers like any other, so limits, networks and admission apply, and `ps` shows them. What says that they
are a build's is nothing that a user can say, so that a daemon that comes back may remove what one before it left.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from hypercell.base.errors import HypercellError
from hypercell.base.finish import finish
from hypercell.cloud.contract import ContainerRequest, Containers, HealthRequest, LogSpec, Output
from hypercell.engines.build.contract import BuildRequest, Progress

log = logging.getLogger(__name__)

_MARK = {"Build": {"step": True}}
_NOTHING = ("#(nop)",)
"""The command of a container that is never started."""


class BuildContainers:
    def __init__(self, containers: Containers, tenant: str, request: BuildRequest) -> None:
        self._containers = containers
        self._tenant = tenant
        self._request = request

    @contextlib.asynccontextmanager
    async def create(self, image: str, command: tuple[str, ...] = _NOTHING, **members: Any) -> AsyncIterator[str]:
        """The id of a container, which is removed in the end, whatever happens."""
        asked = self._request
        request = ContainerRequest(
            image,
            command=command,
            entrypoint=(),
            health=HealthRequest(("NONE",)),
            log=LogSpec(kept=False),
            memory=asked.memory,
            nano_cpus=asked.nano_cpus,
            cpu_shares=asked.cpu_shares,
            ulimits=asked.ulimits,
            extra_hosts=asked.extra_hosts,
            door=_MARK,
            **{"network": asked.network, "shm_size": asked.shm_size, **members},
        )
        ident = await self._created(request)
        try:
            yield ident
        finally:
            await finish(_remove(self._containers, self._tenant, ident))

    async def _created(self, request: ContainerRequest) -> str:
        """Whoever is called off meanwhile gets no container: none is left, though its making goes on to its end."""
        creating = asyncio.ensure_future(self._containers.create(self._tenant, request))
        try:
            return (await finish(creating))[0]
        except asyncio.CancelledError:
            if not creating.cancelled() and creating.exception() is None:
                await finish(_remove(self._containers, self._tenant, creating.result()[0]))
            raise

    async def run(self, ident: str, progress: Progress) -> int:
        """Start it, tell what it writes, and wait for its end: its exit code."""
        attachment = await self._containers.attach(self._tenant, ident, stdin=False, stdout=True, stderr=True)
        try:
            await self._containers.start(self._tenant, ident)
            decoders = {each: codecs.getincrementaldecoder("utf-8")("replace") for each in Output}
            async for output, data in attachment.output():
                if text := decoders[output].decode(data):
                    await (progress.say if output is Output.STDOUT else progress.complain)(text)
        finally:
            await attachment.detach()
        return (await self._containers.wait(self._tenant, ident))[0]


async def _remove(containers: Containers, tenant: str, ident: str) -> None:
    try:
        await containers.remove(tenant, ident, force=True, volumes=True)
    except HypercellError as error:
        log.warning("the container %s of a build cannot be removed: %s", ident[:12], error)


async def sweep(containers: Containers, tenant: str) -> None:
    """Remove what the builds of an earlier daemon have left."""
    for view in await containers.list(tenant, all=True):
        if "Build" in view.request.door:
            await _remove(containers, tenant, view.id)
