# SPDX-License-Identifier: Apache-2.0
"""Keeps the last words of a guest's console or of a hypervisor, however much is said."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

KEPT = 64 * 1024
"""Bytes that are kept; the file may hold twice as many for a moment."""
_CHUNK = 64 * 1024
_PAUSE = 0.05
"""Seconds between chunks, so that one console takes no more than some MB/s of attention. QEMU drops the rest."""
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def printable(data: bytes) -> str:
    """Text for a person's terminal: what would move its cursor or change its state is replaced."""
    text = data.decode(errors="replace").replace("\r\n", "\n")
    return text.translate(_CONTROLS)


class Recorder:
    """A file that holds the end of a stream. It survives the daemon, and the next one goes on with it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except OSError:
            return  # the VM was discarded, or the disk is full: the guest must not feel it
        with open(descriptor, "ab") as file, contextlib.suppress(OSError):  # noqa: PTH123
            file.write(data[-KEPT:])
            if file.tell() > 2 * KEPT:
                self._shorten()

    def _shorten(self) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_bytes(self.tail())
        temporary.replace(self.path)

    def tail(self) -> bytes:
        """The last `KEPT` bytes."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - KEPT))
                return file.read(KEPT)
        except OSError:
            return b""

    async def record(self, reader: asyncio.StreamReader) -> None:
        """Append all that comes from *reader*, until its end."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                self.append(data)
                if len(data) >= _CHUNK // 4:
                    await asyncio.sleep(_PAUSE)


class PipeFollower:
    """Records what comes through a pipe that never ends, until `finish`. Owns the descriptor."""

    def __init__(self, descriptor: int, recorder: Recorder) -> None:
        self._descriptor = descriptor
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self._resuming: asyncio.TimerHandle | None = None
        self._loop.add_reader(descriptor, self._readable)

    def finish(self) -> None:
        """Record what is left, and let go."""
        if self._descriptor < 0:
            return
        while self._take():
            pass
        self._loop.remove_reader(self._descriptor)
        if self._resuming is not None:
            self._resuming.cancel()
        os.close(self._descriptor)
        self._descriptor = -1

    def _readable(self) -> None:
        if self._take() >= _CHUNK // 4:
            self._loop.remove_reader(self._descriptor)
            self._resuming = self._loop.call_later(_PAUSE, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._descriptor, self._readable)

    def _take(self) -> int:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except OSError:
            return 0
        self._recorder.append(data)
        return len(data)
