# SPDX-License-Identifier: Apache-2.0
"""Where an image comes from: the mirrors of its registry, and the registry itself as the last resort.

A mirror that fails in any way, or lies, only costs time: the next one is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from hypercell.base.config import Config
from hypercell.base.errors import HypercellError, InvalidArgument, NoSpace
from hypercell.images import digests, manifest
from hypercell.images.blobs import BlobStore, Lease
from hypercell.images.contract import Credentials
from hypercell.images.documents import MAX_DOCUMENT
from hypercell.images.manifest import Descriptor, Index, Manifest
from hypercell.images.reference import Reference
from hypercell.images.registry import refusals
from hypercell.images.registry.download import download
from hypercell.images.registry.endpoints import endpoints
from hypercell.images.registry.patience import Limits, Patience, Transient
from hypercell.images.registry.session import Session, read_body
from hypercell.images.registry.tags import list_tags

T = TypeVar("T")


class Source:
    """Use as an async context manager."""

    def __init__(self, config: Config, name: Reference, credentials: Credentials | None, limits: Limits) -> None:
        self.limits = limits
        self._sessions = [Session(endpoint, name, credentials, limits) for endpoint in endpoints(config, name.domain)]

    async def __aenter__(self) -> Source:
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions:
            await session.close()

    async def tags(self) -> list[str]:
        """All tags of the repository, as the registry orders them."""
        return await self._first(list_tags)

    async def manifest(self, reference: str, descriptor: Descriptor | None = None) -> Manifest | Index:
        """By tag or digest; when an index led here, what comes must be what its *descriptor* says."""
        return await self._first(lambda session: self._manifest(session, reference, descriptor))

    async def blob(
        self, store: BlobStore, descriptor: Descriptor, lease: Lease, progress: Callable[[int], None]
    ) -> None:
        await self._first(lambda session: download(session, store, descriptor, lease, progress))

    async def document(self, descriptor: Descriptor) -> bytes:
        """A small blob, such as a config, that is not to be kept."""
        return await self._first(lambda session: self._document(session, descriptor))

    async def _document(self, session: Session, descriptor: Descriptor) -> bytes:
        async with session.document(f"{session.repository}/blobs/{descriptor.digest}") as response:
            data = await read_body(response, MAX_DOCUMENT)
            if response.status_code != 200:
                raise refusals.of_blob(response.status_code, data, session.endpoint.host, descriptor.digest)
        if digests.of(data) != descriptor.digest:
            raise InvalidArgument(f"the content of {descriptor.digest} is wrong: its digest is {digests.of(data)}")
        return data

    async def _manifest(self, session: Session, reference: str, descriptor: Descriptor | None) -> Manifest | Index:
        patience = Patience(self.limits)
        while True:
            try:
                data, media_type = await session.manifest(reference)
                break
            except Transient as failure:
                await patience.failed(failure)
        document = manifest.parse(data, media_type)
        wanted = descriptor.digest if descriptor else reference if ":" in reference else document.digest
        if document.digest != wanted:
            raise InvalidArgument(f"the manifest {wanted} is wrong: its digest is {document.digest}")
        if descriptor and (len(data) != descriptor.size or document.media_type != descriptor.media_type):
            raise InvalidArgument(f"the manifest {wanted} is not what its index says: size or media type differ")
        return document

    async def _first(self, ask: Callable[[Session], Awaitable[T]]) -> T:
        """The first good answer. When there is none, the error of the registry itself."""
        for session in self._sessions[:-1]:
            try:
                return await ask(session)
            except NoSpace:
                raise
            except HypercellError:
                continue
        return await ask(self._sessions[-1])
