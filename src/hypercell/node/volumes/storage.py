# SPDX-License-Identifier: Apache-2.0
"""A volume's directory: its disk, a sparse raw ext4 image, which only guests mount."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

from hypercell.base.config import Config
from hypercell.base.crash import crash_point
from hypercell.base.sparse import clone
from hypercell.images.threads import in_thread
from hypercell.node.blanks import Blanks, delete, no_space
from hypercell.node.volumes.volume import Volume


class VolumeStorage:
    def __init__(self, config: Config, blanks: Blanks) -> None:
        self._root = config.volumes
        self._blanks = blanks

    def open(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def disk(self, volume_id: str) -> Path:
        return self._root / volume_id / "disk.img"

    async def create(self, volume: Volume) -> None:
        """Nothing is left on an error. Raises `NoSpace`, `Internal`."""
        self._blanks.check_reserve()
        blank = await self._blanks.of(volume.size)
        await in_thread(self._create, volume.id, blank)

    def _create(self, volume_id: str, blank: Path) -> None:
        directory = self._root / volume_id
        try:
            directory.mkdir(mode=0o700)
            crash_point("volume-directory")
            clone(blank, self.disk(volume_id))
        except OSError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise no_space(error, directory) from error

    async def remove(self, volume_id: str) -> None:
        """Idempotent. Raises `OSError`."""
        with contextlib.suppress(FileNotFoundError):
            await in_thread(shutil.rmtree, self._root / volume_id)

    async def sweep(self, keep: set[str]) -> list[str]:
        """Delete what belongs to no volume; returns the names."""

        def work() -> list[str]:
            strays = [entry.name for entry in os.scandir(self._root) if entry.name not in keep]
            for name in strays:
                delete(self._root / name)
            return strays

        return await asyncio.to_thread(work)

    def used(self, volume: Volume) -> int:
        """Bytes on the host's disk, beyond those of an empty one."""
        return self._blanks.used(self.disk(volume.id), volume.size)
