# SPDX-License-Identifier: Apache-2.0
"""The images that a build begins from, and those that it has under way and that nobody may take away meanwhile."""

from __future__ import annotations

from collections import Counter

from hypercell.base.errors import NotFound, Unsupported
from hypercell.engines.build.contract import BuildRequest, Progress
from hypercell.images import platforms, reference
from hypercell.images.contract import Image, Images, Revision

SCRATCH = "scratch"
_BEGINNING = "1970-01-01T00:00:00Z"


class Bases:
    """Of one build. `release` it."""

    def __init__(
        self, tenant: str, images: Images, held: Counter[str], request: BuildRequest, progress: Progress
    ) -> None:
        self._tenant = tenant
        self._images = images
        self._held = held
        self._mine: list[str] = []
        self._request = request
        self._progress = progress
        self._pulled: set[str] = set()

    def hold(self, image_id: str) -> None:
        self._held[image_id] += 1
        self._mine.append(image_id)

    def release(self) -> None:
        for image_id in self._mine:
            self._held[image_id] -= 1
            if not self._held[image_id]:
                del self._held[image_id]
        self._mine.clear()

    async def find(self, name: str, platform: str) -> Image:
        """Here, or from its registry. Raises what a pull does."""
        if name == SCRATCH:
            image = await self._images.commit(self._tenant, "", None, Revision({}, created=_BEGINNING))
        else:
            image = await self._find(name, platform)
        self.hold(image.id)
        return image

    async def _find(self, name: str, platform: str) -> Image:
        if platform and platforms.parse(platform) != platforms.host():
            raise Unsupported(f"a build for {platform[:50]} is not built", f"this machine runs {platforms.host()}")
        is_id = len(reference.id_prefix(name) or "") == 64
        if not self._request.pull or name in self._pulled or is_id:
            try:
                return await self._images.get(self._tenant, name)
            except NotFound:
                if is_id:
                    raise
        wanted = reference.parse(name).or_latest()
        credentials = self._request.credentials.get(wanted.domain)
        image = await self._images.pull(self._tenant, wanted.familiar, platform, credentials, self._progress.pulling)
        self._pulled.add(name)
        return image
