# SPDX-License-Identifier: Apache-2.0
"""The service behind `contract.Builds`: the context is staged, the Dockerfile read, the build run, the image named."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack

from hypercell.base.config import Config
from hypercell.base.errors import InvalidArgument
from hypercell.base.ids import short
from hypercell.base.path_patterns import IgnoreRules
from hypercell.cloud.contract import Containers
from hypercell.engines.build import containers as own
from hypercell.engines.build.bases import Bases
from hypercell.engines.build.build import Build
from hypercell.engines.build.containers import BuildContainers
from hypercell.engines.build.contract import BuildRequest, Progress
from hypercell.engines.build.copying import Engines
from hypercell.engines.build.lines import MAX_SIZE
from hypercell.engines.build.parser import parse
from hypercell.engines.build.plan import plan
from hypercell.engines.build.staging import Staged, Staging
from hypercell.images.contract import Images
from hypercell.images.threads import in_thread

_DEFAULT = "Dockerfile"
_IGNORE = ".dockerignore"


class Builder:
    """Implements `contract.Builds`."""

    def __init__(self, config: Config, containers: Containers, images: Images) -> None:
        self._containers = containers
        self._images = images
        self._staging = Staging(config.root / "builds", config.reserve_bytes)
        self._held: Counter[str] = Counter()
        """Ids of the images of builds under way."""
        others = images.in_use
        images.in_use = lambda image_id: others(image_id) or ["a build"] * bool(self._held[image_id])

    async def open(self, tenant: str) -> None:
        """Remove what the builds of an earlier daemon have left."""
        await own.sweep(self._containers, tenant)

    async def build(self, tenant: str, request: BuildRequest, context: AsyncIterator[bytes], progress: Progress) -> str:
        with ExitStack() as stack:
            staged = stack.enter_context(await self._staging.stage(context))
            escape, instructions = await in_thread(parse, await _dockerfile(staged, request.dockerfile))
            made = plan(instructions, request.target)
            await _ignore(staged)
            bases = Bases(tenant, self._images, self._held, request, progress)
            stack.callback(bases.release)
            engines = Engines(self._containers, self._images, BuildContainers(self._containers, tenant, request))
            build = Build(*(tenant, request, engines, bases, staged, self._staging, progress, made, escape))
            image = await build.run()
            await progress.say(f"Successfully built {short(image.id)}\n")
            for repository, tag in request.tags:
                await self._images.tag(tenant, image.id, repository, tag)
                await progress.say(f"Successfully tagged {repository}:{tag or 'latest'}\n")
            return image.id


async def _dockerfile(staged: Staged, name: str) -> bytes:
    for candidate in (name,) if name else (_DEFAULT, _DEFAULT.lower()):
        path = staged.tree.resolve(candidate)
        entry = staged.tree.entries.get(path) if path else None
        if entry is not None and entry.kind == "file":
            return await staged.read(entry, MAX_SIZE)
    raise InvalidArgument(
        f"Cannot locate specified Dockerfile: {(name or _DEFAULT)[:200]}", "it must be in the context"
    )


async def _ignore(staged: Staged) -> None:
    """Most clients have left these out already."""
    path = staged.tree.resolve(_IGNORE)
    entry = staged.tree.entries.get(path) if path else None
    if entry is not None and entry.kind == "file":
        text = (await staged.read(entry, MAX_SIZE)).decode(errors="surrogateescape")
        await in_thread(staged.tree.ignore, IgnoreRules(text.splitlines()))
