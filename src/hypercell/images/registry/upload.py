# SPDX-License-Identifier: Apache-2.0
"""One blob into a repository of a registry: left alone if it is there, mounted from another repository if it can be,
sent otherwise (distribution-spec "Pushing blobs", "Mounting a blob from another repository").

It is sent as a stream of no announced length, as dockerd sends it, and committed when all of it is there. So an upload
that is called off can be brought to an orderly end, after which the registry knows how much it has and can be told to
forget it: some cannot of one whose connection just broke.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from hypercell.base.errors import Forbidden, HypercellError, Unauthorized
from hypercell.base.finish import finish
from hypercell.images.digests import Digest
from hypercell.images.registry import refusals
from hypercell.images.registry.patience import Patience, Transient
from hypercell.images.registry.session import NOTHING, Content, Session
from hypercell.images.threads import in_thread

CHUNK = 256 * 1024


class Upload:
    """A blob on its way to the repository of *session*, whose familiar name is *name*; *path* is its file, of *size*
    bytes. *told* hears of the bytes that have been sent, now and then."""

    def __init__(
        self, session: Session, name: str, digest: Digest, path: Path, size: int, told: Callable[[int], None]
    ) -> None:
        self._session = session
        self._name = name
        self._digest = digest
        self._path = path
        self._told = told
        self._content = Content(size, self._chunks, announced=False)
        self._stopped = False

    async def is_there(self) -> bool:
        """Whether the repository has it. One that will not say is sent the blob, and refuses that with a reason."""
        url = f"{self._session.repository}/blobs/{self._digest}"
        patience = Patience(self._session.limits)
        while True:
            try:
                async with self._session.exchange("HEAD", url) as response:
                    await self._session.remark(response)
                    if response.status_code < 500:
                        return response.status_code == 200
                    raise refusals.unavailable(response.status_code, b"", f"the registry {self._session.endpoint.host}")
            except Transient as failure:
                await patience.failed(failure)

    async def run(self, source: str = "") -> bool:
        """Have it in the repository. *source*: the path of another repository there that should have it. True if it
        was mounted from that one.

        Raises `Unauthorized`, `Forbidden`, `NotFound`, `InvalidArgument`, `Unavailable`.
        """
        patience = Patience(self._session.limits)
        while True:
            attempt = asyncio.ensure_future(self._attempt(source))
            try:
                return await finish(attempt, partial(self._stop, attempt))
            except Transient as failure:
                await patience.failed(failure)

    def _stop(self, attempt: asyncio.Future[bool]) -> None:
        """Whoever waits has been cancelled: the attempt gets a moment to take itself back."""
        self._stopped = True
        asyncio.get_running_loop().call_later(self._session.limits.abandon, attempt.cancel)

    async def _attempt(self, source: str) -> bool:
        location = await self._begin(source)
        if not location:
            return True
        whole = False
        try:
            location = await self._send(location)
            if not self._stopped:
                await self._commit(location)
                whole = True
        finally:
            if not whole:
                await self._abandon(location)
        return False

    async def _begin(self, source: str) -> str:
        """Where to send it; empty when it has been mounted."""
        if source:
            # Whoever may not read that repository may still write to this one.
            with contextlib.suppress(Unauthorized, Forbidden):
                return await self._ask(f"?mount={quote(self._digest, safe='')}&from={quote(source, safe='')}")
        return await self._ask("")

    async def _ask(self, query: str) -> str:
        url = f"{self._session.repository}/blobs/uploads/{query}"
        async with self._session.exchange("POST", url) as response:
            body = await self._session.remark(response)
            if response.status_code == 201 and query:
                return ""
            location = response.headers.get("location", "")
            if response.status_code != 202 or not location:
                raise self._refusal(response.status_code, body)
            return self._session.target(str(response.url), location)

    async def _send(self, location: str) -> str:
        """Where to go on from there."""
        headers = {"content-type": "application/octet-stream"}
        async with self._session.exchange("PATCH", location, headers, self._content) as response:
            body = await self._session.remark(response)
            if response.status_code not in (201, 202, 204):
                raise self._refusal(response.status_code, body)
            return self._session.target(str(response.url), response.headers.get("location", "") or location)

    async def _commit(self, location: str) -> None:
        url = f"{location}{'&' if urlsplit(location).query else '?'}digest={quote(self._digest, safe='')}"
        async with self._session.exchange("PUT", url, {}, NOTHING) as response:
            body = await self._session.remark(response)
            if response.status_code not in (201, 204):
                raise self._refusal(response.status_code, body)

    async def _abandon(self, location: str) -> None:
        """Tell the registry to forget what came of it; one that does not listen forgets in its own time."""
        with contextlib.suppress(HypercellError, TimeoutError):
            async with asyncio.timeout(self._session.limits.abandon), self._session.exchange("DELETE", location):
                pass

    def _refusal(self, status: int, body: bytes) -> HypercellError:
        return refusals.of_push(status, body, self._session.endpoint.host, self._name)

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        sent = 0
        with self._path.open("rb") as file:
            while not self._stopped and (chunk := await in_thread(file.read, CHUNK)):
                yield chunk
                sent += len(chunk)
                self._told(sent)
