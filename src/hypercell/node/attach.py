# SPDX-License-Identifier: Apache-2.0
"""Clients at a container's standard streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from hypercell.agent.contract import InputStream
from hypercell.base.errors import HypercellError, VmFailed
from hypercell.node.output import Tap
from hypercell.node.types import Output

Resize = Callable[[int, int], Awaitable[None]]


class RunInput:
    """Standard input of one run. Like its output it exists before the run begins: writers wait for the start."""

    def __init__(self) -> None:
        self._stream: InputStream | None = None
        self._ready = asyncio.Event()
        self.closed = False

    def bind(self, stream: InputStream | None) -> None:
        """The guest listens on *stream* (None: it never will, or no longer does)."""
        self._stream = stream
        self._ready.set()

    async def write(self, data: bytes) -> None:
        await self._ready.wait()
        if self._stream is not None and not self.closed:
            # A guest that is gone, or that comes back: what was on its way is lost, as on a broken pipe.
            with contextlib.suppress(VmFailed):
                await self._stream.write(data)

    async def close(self) -> None:
        await self._ready.wait()
        if self._stream is not None and not self.closed:
            self.closed = True
            with contextlib.suppress(VmFailed):
                await self._stream.close()


class ContainerAttachment:
    """`Attachment` to a container's init process."""

    def __init__(self, tty: bool, tap: Tap, stdin: RunInput | None, close_with_client: bool, resize: Resize) -> None:
        """*close_with_client* (docker's StdinOnce): the end of this client's input is the end of the container's."""
        self.tty = tty
        self._tap = tap
        self._stdin = stdin
        self._close_with_client = close_with_client
        self._resize = resize

    def output(self) -> AsyncIterator[tuple[Output, bytes]]:
        return self._tap.read()

    async def write(self, data: bytes) -> None:
        if self._stdin is not None:
            await self._stdin.write(data)

    async def close_stdin(self) -> None:
        if self._stdin is not None and self._close_with_client:
            await self._stdin.close()

    async def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(HypercellError):  # a window that changes while the container ends
            await self._resize(rows, columns)

    async def detach(self) -> None:
        self._tap.close()
        await self.close_stdin()
