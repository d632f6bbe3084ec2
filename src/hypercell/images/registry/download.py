# SPDX-License-Identifier: Apache-2.0
"""One blob from a registry into the store: resumed where it broke off, bounded, verified.

A download goes on as long as it gains bytes at a tolerable rate; what breaks off is asked for again from where it
stopped (RFC 9110 section 14, distribution-spec "Pulling blobs").
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable

import httpx2

from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument, Unavailable
from hypercell.images.blobs import BlobStore, BlobWriter, Lease
from hypercell.images.manifest import FOREIGN_LAYER_TYPES, Descriptor
from hypercell.images.registry import refusals
from hypercell.images.registry.patience import Patience, Transient
from hypercell.images.registry.session import Session, read_body
from hypercell.images.threads import in_thread

CHUNK = 1024 * 1024
"""Bytes that are gathered before they are hashed and written in a thread."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


async def download(
    session: Session, store: BlobStore, descriptor: Descriptor, lease: Lease, progress: Callable[[int], None]
) -> None:
    """Fetch what *descriptor* names into *store*. *progress* is told the bytes that are here, now and then.

    Raises `NotFound`, `Unauthorized`, `Unavailable`, `NoSpace`; `InvalidArgument` when size or digest are wrong.
    """
    with store.writer() as writer:
        transfer = _Transfer(session, writer, descriptor, progress)
        await transfer.run()
        await in_thread(writer.commit, lease, descriptor.digest)


class _Transfer:
    def __init__(
        self, session: Session, writer: BlobWriter, descriptor: Descriptor, progress: Callable[[int], None]
    ) -> None:
        self._session = session
        self._writer = writer
        self._descriptor = descriptor
        self._progress = progress
        self._deadline = 0.0

    async def run(self) -> None:
        limits = self._session.limits
        self._deadline = time.monotonic() + limits.answer + self._descriptor.size / limits.slowest
        patience = Patience(limits)
        furthest = 0
        while self._writer.size < self._descriptor.size:
            try:
                await self._attempt()
            except Transient as failure:
                # Having got as far again as before is no progress.
                if self._writer.size > furthest:
                    furthest = self._writer.size
                    patience.rewarded()
                await patience.failed(failure)
                self._check_pace()

    def _check_pace(self) -> None:
        if time.monotonic() > self._deadline:
            raise Unavailable(f"the registry {self._session.endpoint.host} is too slow", "try again later")

    def _broke_off(self) -> Transient:
        return Transient(
            f"the registry {self._session.endpoint.host} broke off {self._descriptor.digest} at "
            f"{self._writer.size} of {self._descriptor.size} bytes",
            "try again",
        )

    async def _attempt(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            response = await stack.enter_async_context(self._open())
            if response.status_code not in (200, 206):
                body = await read_body(response, refusals.MAX_BODY)
                raise refusals.of_blob(response.status_code, body, self._session.endpoint.host, self._descriptor.digest)
            self._position(response)
            await self._receive(response)
        if self._writer.size < self._descriptor.size:
            raise self._broke_off()

    def _open(self) -> contextlib.AbstractAsyncContextManager[httpx2.Response]:
        descriptor = self._descriptor
        if descriptor.media_type in FOREIGN_LAYER_TYPES and descriptor.urls:
            return self._session.foreign(descriptor.urls[0], self._writer.size)
        return self._session.blob(descriptor.digest, self._writer.size)

    def _position(self, response: httpx2.Response) -> None:
        """Make the writer stand where the body begins, and check that the body can be the rest of the blob."""
        size = self._descriptor.size
        if response.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            if match is None or int(match[1]) != self._writer.size or (match[3] != "*" and int(match[3]) != size):
                self._writer.restart()
                raise self._broke_off()
        elif self._writer.size:
            self._writer.restart()
        length = response.headers.get("content-length", "")
        if is_digits(length) and int(length) != size - self._writer.size:
            raise InvalidArgument(
                f"the manifest gives {self._descriptor.digest} {size} bytes, the registry "
                f"{self._writer.size + int(length)}"
            )

    async def _receive(self, response: httpx2.Response) -> None:
        gathered = bytearray()
        try:
            async for chunk in response.aiter_raw():
                gathered += chunk
                if self._writer.size + len(gathered) > self._descriptor.size:
                    raise InvalidArgument(
                        f"{self._descriptor.digest} is larger than the {self._descriptor.size} bytes of its manifest"
                    )
                if len(gathered) >= CHUNK:
                    await self._flush(gathered)
                self._check_pace()
        finally:
            # What came before a cut is kept: the next attempt goes on from there.
            if gathered:
                await self._flush(gathered)

    async def _flush(self, gathered: bytearray) -> None:
        await in_thread(self._writer.write, bytes(gathered))
        gathered.clear()
        self._progress(self._writer.size)
