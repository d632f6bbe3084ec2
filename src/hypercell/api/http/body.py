# SPDX-License-Identifier: Apache-2.0
"""The body of a request, read from the connection on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from hypercell.api.http.routing import UNLIMITED
from hypercell.base.errors import HypercellError

FREE_BYTES = 64 * 1024
"""Of each body: a request of everyday size is served however much others send."""


class BodyTooLarge(HypercellError):
    status = 413


class TooManyBodies(HypercellError):
    status = 429


class BodyBudget:
    """The memory that the bodies of all requests may take at once, beyond `FREE_BYTES` each."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        """Raises `TooManyBodies`."""
        if size > self.left:
            raise TooManyBodies("too much is sent to this daemon at once", "try again in a moment")
        self.left -= size

    def give(self, size: int) -> None:
        self.left += size


class IncomingBody:
    """*pull* gives the next chunk, b'' at the end. `release` it when the request is over."""

    def __init__(self, pull: Callable[[], Awaitable[bytes]], length: int | None, budget: BodyBudget) -> None:
        self._pull = pull
        self._budget = budget
        self._taken = 0
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
            if self.limit != UNLIMITED:
                self._account(received)
            yield chunk

    def _account(self, received: int) -> None:
        # A body that has a limit is kept until it is whole.
        if received > self.limit:
            raise _too_large(self.limit)
        more = received - FREE_BYTES - self._taken
        if more > 0:
            self._budget.take(more)
            self._taken += more

    def release(self) -> None:
        self._budget.give(self._taken)
        self._taken = 0


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"request body too large: at most {limit} bytes are accepted here")
