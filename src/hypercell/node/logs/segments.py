# SPDX-License-Identifier: Apache-2.0
"""The files of a log: `00000007.log`, or `00000007.logz` once it is compressed. Whoever reads need not know which.

A compressed file is made under another name, and has its own before the plain one goes: at every moment one of the two
is there and whole.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from hypercell.base.crash import crash_point
from hypercell.base.digits import is_digits
from hypercell.node.logs import packed

log = logging.getLogger(__name__)

_PLAIN, _PACKED, _UNFINISHED = ".log", ".logz", ".new"


class Segments:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def plain(self, number: int) -> Path:
        return self.directory / f"{number:08d}{_PLAIN}"

    def packed(self, number: int) -> Path:
        return self.directory / f"{number:08d}{_PACKED}"

    def numbers(self) -> list[int]:
        return sorted(self._with(_PLAIN) | self._with(_PACKED))

    def _with(self, suffix: str) -> set[int]:
        try:
            stems = [file.stem for file in self.directory.iterdir() if file.suffix == suffix]
        except FileNotFoundError:
            return set()
        return {int(stem) for stem in stems if is_digits(stem)}

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Nothing of a segment that is gone."""
        try:
            with self.plain(number).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), length, offset)
        except FileNotFoundError:
            pass
        try:
            with self.packed(number).open("rb", buffering=0) as file:
                return packed.read(file.fileno(), offset, length)
        except FileNotFoundError:
            return b""

    def size(self, number: int) -> int:
        """Bytes of it, uncompressed; 0 of one that is gone."""
        with contextlib.suppress(FileNotFoundError):
            return self.plain(number).stat().st_size
        try:
            with self.packed(number).open("rb", buffering=0) as file:
                return packed.size_of(file.fileno())
        except FileNotFoundError:
            return 0

    def remove(self, number: int) -> None:
        self.plain(number).unlink(missing_ok=True)
        self.packed(number).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Finish what a killed daemon had begun: drop compressed files that are not whole, and plain ones that were
        compressed."""
        for number in self._with(_UNFINISHED):
            self._unfinished(number).unlink(missing_ok=True)
        for number in self._with(_PLAIN) & self._with(_PACKED):
            self.plain(number).unlink(missing_ok=True)

    def pack_before(self, current: int, wanted: Callable[[int], bool]) -> None:
        """Compress all that are older than *current*, as long as they are *wanted*. Blocks; for a thread. Where it
        fails (the disk is full) a segment stays as it is, and the next rotation tries again."""
        for number in sorted(self._with(_PLAIN)):
            if number < current and wanted(number):
                try:
                    self._pack(number, wanted)
                except FileNotFoundError:  # it was rotated away, or the container was removed
                    continue
                except OSError as error:
                    log.warning("cannot compress %s: %s", self.plain(number), error.strerror)
                    return

    def _pack(self, number: int, wanted: Callable[[int], bool]) -> None:
        unfinished = self._unfinished(number)
        descriptor = None
        try:
            with self.plain(number).open("rb") as source:
                descriptor = os.open(
                    unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
                )
                with os.fdopen(descriptor, "wb") as target:
                    if not packed.pack(source, target, lambda: wanted(number)):
                        return
                    target.flush()
                    os.fsync(descriptor)  # the plain file has long been on the disk: a power cut must not take it
            crash_point("log-packed")
            unfinished.rename(self.packed(number))
            crash_point("log-pack-named")
            self.plain(number).unlink(missing_ok=True)
            if not wanted(number):  # it was rotated away meanwhile, before it had its name
                self.packed(number).unlink(missing_ok=True)
        finally:
            if descriptor is not None:
                unfinished.unlink(missing_ok=True)

    def _unfinished(self, number: int) -> Path:
        return self.directory / f"{number:08d}{_UNFINISHED}"
