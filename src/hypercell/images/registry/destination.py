# SPDX-License-Identifier: Apache-2.0
"""Where images are pushed to: a repository of the registry that its name gives, never a mirror (distribution-spec
"Push"). Layers go first, several at a time, then the config, and the manifest when all that it lists is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from hypercell.base.config import Config
from hypercell.base.errors import Internal
from hypercell.base.ids import short
from hypercell.images.blobs import BlobStore
from hypercell.images.contract import Credentials, Progress, ProgressSink
from hypercell.images.digests import Digest
from hypercell.images.manifest import FOREIGN_LAYER_TYPES, Descriptor, Manifest
from hypercell.images.reference import Reference
from hypercell.images.registry import refusals
from hypercell.images.registry.endpoints import endpoints
from hypercell.images.registry.patience import Limits, Patience, Transient
from hypercell.images.registry.session import Content, Session
from hypercell.images.registry.together import all_of
from hypercell.images.registry.upload import Upload


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One image as it is pushed."""

    tag: str
    manifest: Manifest
    shown: tuple[str, ...]
    """What progress calls each layer of the manifest."""
    sources: dict[Digest, str]
    """By digest: the path of another repository of the registry that should have the blob."""


class Destination:
    """Use as an async context manager."""

    def __init__(
        self, config: Config, name: Reference, credentials: Credentials | None, limits: Limits, blobs: BlobStore
    ) -> None:
        self._name = name
        self._blobs = blobs
        self._parallel = limits.parallel
        registry = endpoints(config, name.domain)[-1]
        self._session = Session(registry, name, credentials, limits, "pull,push")
        self._there: set[Digest] = set()
        """Blobs that the repository has, as far as we know."""

    async def __aenter__(self) -> Destination:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def greet(self) -> None:
        """Settle on how to speak to it and as whom, before anything large is sent. Raises as `push` does."""
        async with self._session.document("/v2/") as response:
            body = await self._session.remark(response)
            if response.status_code == 401:
                raise refusals.unauthorized(self._session.endpoint.host, body)

    async def push(self, image: Outgoing, progress: ProgressSink) -> None:
        """Raises `Unauthorized`, `Forbidden`, `NotFound`, `InvalidArgument`, `Unavailable`; `Internal` when a blob of
        ours is lost."""
        # From the top, as docker has it. A layer that occurs twice goes once.
        layers = dict(list(zip(image.manifest.layers, image.shown, strict=True))[::-1])
        for shown in layers.values():
            progress(Progress("Preparing", shown))
        turns = asyncio.Semaphore(self._parallel)

        async def one(layer: Descriptor, shown: str) -> None:
            def say(status: str, sent: int = 0) -> None:
                progress(Progress(status, shown, sent, layer.size if sent else 0))

            if turns.locked():
                say("Waiting")
            async with turns:
                say(await self._layer(image, layer, lambda sent: say("Pushing", sent)))

        await all_of([one(layer, shown) for layer, shown in layers.items()])
        await self._have(image.manifest.config, image.sources, lambda _: None)
        await self._put(image)

    async def _layer(self, image: Outgoing, layer: Descriptor, told: Callable[[int], None]) -> str:
        if layer.media_type in FOREIGN_LAYER_TYPES and layer.urls:
            # Its licence keeps it where it is: the manifest tells where.
            return "Skipped foreign layer"
        return await self._have(layer, image.sources, told)

    async def _have(self, blob: Descriptor, sources: dict[Digest, str], told: Callable[[int], None]) -> str:
        """Have *blob* in the repository; how it got there, in docker's words."""
        if blob.digest in self._there:
            return "Layer already exists"
        if self._blobs.size(blob.digest) != blob.size:
            raise Internal(f"the blob {short(blob.digest)} is lost or damaged", "pull or load the image again")
        upload = Upload(
            self._session, self._name.familiar_name, blob.digest, self._blobs.path(blob.digest), blob.size, told
        )
        source = sources.get(blob.digest, "")
        if await upload.is_there():
            done = "Layer already exists"
        else:
            done = f"Mounted from {source}" if await upload.run(source) else "Pushed"
        self._there.add(blob.digest)
        return done

    async def _put(self, image: Outgoing) -> None:
        raw = image.manifest.raw

        async def chunks() -> AsyncGenerator[bytes, None]:
            yield raw

        url = f"{self._session.repository}/manifests/{image.tag}"
        headers = {"content-type": image.manifest.media_type}
        patience = Patience(self._session.limits)
        while True:
            try:
                async with self._session.exchange("PUT", url, headers, Content(len(raw), chunks)) as response:
                    body = await self._session.remark(response)
                    if response.status_code not in (200, 201):
                        host, name = self._session.endpoint.host, self._name.familiar_name
                        raise refusals.of_push(response.status_code, body, host, name)
                return
            except Transient as failure:
                await patience.failed(failure)
