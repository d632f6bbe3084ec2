# SPDX-License-Identifier: Apache-2.0
"""A stream that arrives in the event loop, read by code that blocks in a thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import threading
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, TypeVar, cast

from hypercell.images.threads import in_abortable_thread

T = TypeVar("T")
GATHER = 256 * 1024
"""Bytes that are waited for before the thread is bothered."""


async def read_in_thread(stream: AsyncIterator[bytes], work: Callable[[BinaryIO], T]) -> T:
    """Call *work* in a thread with *stream* as a file. When cancelled, *work* is made to fail and is waited for."""
    reader = _Reader(stream, asyncio.get_running_loop())
    return await in_abortable_thread(reader.abort, work, cast(BinaryIO, reader))


class AbortedError(Exception):
    """Nobody wants the result of this thread any more."""


class _Reader(io.RawIOBase):
    def __init__(self, stream: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self._rest = memoryview(b"")
        self._lock = threading.Lock()
        self._waiting: concurrent.futures.Future[bytes] | None = None
        self._aborted = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most *size* bytes, which must be given; empty at the end."""
        if not self._rest:
            self._rest = memoryview(self._await())
        piece = self._rest[:size]
        self._rest = self._rest[len(piece) :]
        return bytes(piece)

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            if self._waiting is not None:
                self._waiting.cancel()

    def _await(self) -> bytes:
        with self._lock:
            if self._aborted:
                raise AbortedError
            self._waiting = asyncio.run_coroutine_threadsafe(self._gather(), self._loop)
        try:
            return self._waiting.result()
        except concurrent.futures.CancelledError:
            raise AbortedError from None

    async def _gather(self) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in self._stream:
            chunks.append(chunk)
            size += len(chunk)
            if size >= GATHER:
                break
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
