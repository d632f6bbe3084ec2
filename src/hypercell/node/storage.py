# SPDX-License-Identifier: Apache-2.0
"""A container's directory: its writable layer, a sparse raw ext4 image, and its log.

The layer is a copy of a blank one (`node/blanks.py`), so creating a container starts no program. The host never mounts
an image.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hypercell.base.config import Config
from hypercell.base.crash import crash_point
from hypercell.base.sparse import clone
from hypercell.images.threads import in_thread
from hypercell.node.blanks import Blanks, delete, no_space


class Storage:
    def __init__(self, config: Config) -> None:
        self._containers = config.containers
        self.blanks = Blanks(config)

    async def open(self) -> None:
        self._containers.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.blanks.open()

    def directory(self, container_id: str) -> Path:
        return self._containers / container_id

    def writable(self, container_id: str) -> Path:
        return self.directory(container_id) / "rw.img"

    def logs(self, container_id: str) -> Path:
        return self.directory(container_id) / "log"

    def check_reserve(self) -> None:
        """Raises `NoSpace` when less than the reserve is free."""
        self.blanks.check_reserve()

    async def create(self, container_id: str, size: int) -> None:
        """Make the directory with a blank writable layer of *size* bytes. Nothing is left on an error."""
        self.check_reserve()
        blank = await self.blanks.of(size)
        await in_thread(self._create, container_id, blank)

    def _create(self, container_id: str, blank: Path) -> None:
        directory = self.directory(container_id)
        try:
            directory.mkdir(mode=0o700)
            crash_point("storage-directory")
            clone(blank, self.writable(container_id))
        except OSError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise no_space(error, directory) from error

    async def copy_blank(self, size: int, target: Path) -> None:
        """A blank writable layer of *size* bytes that belongs to no container; nothing must be at *target*."""
        blank = await self.blanks.of(size)
        try:
            await in_thread(clone, blank, target)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise no_space(error, target) from error

    async def empty(self, container_id: str) -> None:
        """Give the space of the writable layer back, and what it holds up."""
        await in_thread(self.writable(container_id).unlink, missing_ok=True)

    async def remove(self, *container_ids: str) -> None:
        """Delete all of them. Idempotent. Raises `OSError` for the first that cannot be, when the others are gone."""
        await asyncio.to_thread(self._remove, container_ids)

    def _remove(self, container_ids: Iterable[str]) -> None:
        failed: list[OSError] = []
        for container_id in container_ids:
            try:
                self._remove_one(container_id)
            except FileNotFoundError:
                pass
            except OSError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _remove_one(self, container_id: str) -> None:
        self.writable(container_id).unlink(missing_ok=True)
        directory = self.directory(container_id)
        try:
            directory.rmdir()  # most have no log: nothing was written to it
        except FileNotFoundError:
            raise
        except OSError:
            shutil.rmtree(directory)

    async def sweep(self, keep: set[str]) -> list[str]:
        """Delete the directories of containers that do not exist; returns their names."""

        def work() -> list[str]:
            strays = [entry.name for entry in os.scandir(self._containers) if entry.name not in keep]
            for name in strays:
                delete(self._containers / name)
            self.blanks.sweep()
            return strays

        return await asyncio.to_thread(work)

    def used(self, container_id: str, size: int) -> int:
        """Bytes that the writable layer takes beyond a blank one's."""
        return self.blanks.used(self.writable(container_id), size)
