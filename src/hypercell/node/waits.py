# SPDX-License-Identifier: Apache-2.0
"""Those who wait for a container's end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypercell.base.errors import InvalidArgument

CONDITIONS = ("not-running", "next-exit", "removed")


class Waits:
    def __init__(self) -> None:
        self._exit: set[asyncio.Future[tuple[int, str]]] = set()
        self._removal: set[asyncio.Future[tuple[int, str]]] = set()

    async def wait(self, condition: str, ready: Callable[[], None] | None) -> tuple[int, str]:
        """(exit code, error) at the next exit (`next-exit`, `not-running`) or at the removal."""
        if condition not in CONDITIONS:
            raise InvalidArgument(f"invalid condition: {condition!r}", f"choose one of {', '.join(CONDITIONS)}")
        waiting = self._removal if condition == "removed" else self._exit
        future: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        waiting.add(future)
        try:
            if ready is not None:
                ready()
            return await future
        finally:
            waiting.discard(future)

    def exited(self, code: int, error: str) -> None:
        _resolve(self._exit, code, error)

    def removed(self, code: int, error: str) -> None:
        _resolve(self._exit, code, error)
        _resolve(self._removal, code, error)


def _resolve(waiting: set[asyncio.Future[tuple[int, str]]], code: int, error: str) -> None:
    for future in list(waiting):
        if not future.done():
            future.set_result((code, error))
