# SPDX-License-Identifier: Apache-2.0
"""The body of a request, read from the connection on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from hypercell.api.http.routing import UNLIMITED
from hypercell.base.errors import HypercellError


class BodyTooLarge(HypercellError):
    status = 413


class IncomingBody:
    """*pull* gives the next chunk, b'' at the end."""

    def __init__(self, pull: Callable[[], Awaitable[bytes]], length: int | None) -> None:
        self._pull = pull
        self.length = length
        self.limit = 0
        self.finished = length == 0

    def set_limit(self, limit: int) -> None:
        """Accept *limit* bytes at most (`UNLIMITED`: any). Raises `BodyTooLarge` when more are announced."""
        self.limit = limit
        if limit != UNLIMITED and self.length is not None and self.length > limit:
            raise _too_large(limit)

    async def chunks(self) -> AsyncIterator[bytes]:
        received = 0
        while not self.finished:
            chunk = await self._pull()
            if not chunk:
                self.finished = True
                return
            received += len(chunk)
            if self.limit != UNLIMITED and received > self.limit:
                raise _too_large(self.limit)
            yield chunk


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"request body too large: at most {limit} bytes are accepted here")
