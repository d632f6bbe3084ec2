# SPDX-License-Identifier: Apache-2.0
"""A container's directory: its writable layer, a sparse raw ext4 image, and its log.

A blank image is made once per size and copied by its data extents (some 150 KiB), so creating a container starts
no program. The host never mounts an image.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hypercell.base.config import Config
from hypercell.base.crash import crash_point
from hypercell.base.errors import Internal, NoSpace
from hypercell.base.sparse import clone
from hypercell.images.threads import in_thread

_MKFS = (
    "mkfs.ext4",
    "-q",
    "-F",
    *("-m", "0"),
    *("-b", "4096"),
    # A small journal: what it holds is written twice, and it fills up on the host's disk.
    *("-J", "size=4"),
    *("-O", "^resize_inode"),
    # Marked as zeroed, since holes read as zeros: no guest spends its first minutes writing inode tables. All
    # metadata lies in few places, so that the copy is quick.
    *("-G", "128"),
    *("-E", "lazy_itable_init=0,lazy_journal_init=1,nodiscard,packed_meta_blocks=1,root_owner=0:0"),
)


class Storage:
    def __init__(self, config: Config) -> None:
        self._root = config.root
        self._containers = config.containers
        self._blanks = config.root / "blank"
        self._reserve = config.reserve_bytes
        self._making = asyncio.Lock()

    async def open(self) -> None:
        for directory in (self._containers, self._blanks):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def directory(self, container_id: str) -> Path:
        return self._containers / container_id

    def writable(self, container_id: str) -> Path:
        return self.directory(container_id) / "rw.img"

    def logs(self, container_id: str) -> Path:
        return self.directory(container_id) / "log"

    def check_reserve(self) -> None:
        """Raises `NoSpace` when less than the reserve is free."""
        status = os.statvfs(self._root)
        free = status.f_bavail * status.f_frsize
        if free < self._reserve:
            raise NoSpace(
                f"only {free >> 20} MiB are free under {self._root}, and {self._reserve >> 20} MiB are kept in reserve",
                "remove containers or images (hypercell system prune), or lower `reserve_bytes`",
            )

    async def create(self, container_id: str, size: int) -> None:
        """Make the directory with a blank writable layer of *size* bytes. Nothing is left on an error."""
        self.check_reserve()
        blank = await self._blank(size)
        await in_thread(self._create, container_id, blank)

    def _create(self, container_id: str, blank: Path) -> None:
        directory = self.directory(container_id)
        try:
            directory.mkdir(mode=0o700)
            crash_point("storage-directory")
            clone(blank, self.writable(container_id))
        except OSError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise _no_space(error, directory) from error

    async def copy_blank(self, size: int, target: Path) -> None:
        """A blank writable layer of *size* bytes that belongs to no container; nothing must be at *target*."""
        blank = await self._blank(size)
        try:
            await in_thread(clone, blank, target)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise _no_space(error, target) from error

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
                _delete(self._containers / name)
            for unfinished in self._blanks.glob("*.new"):
                unfinished.unlink(missing_ok=True)
            return strays

        return await asyncio.to_thread(work)

    def used(self, container_id: str, size: int) -> int:
        """Bytes that the writable layer takes beyond a blank one's."""
        try:
            blocks = self.writable(container_id).stat().st_blocks
            blank = self._blank_path(size).stat().st_blocks
        except FileNotFoundError:
            return 0
        return max(0, blocks - blank) * 512

    def _blank_path(self, size: int) -> Path:
        return self._blanks / f"{size}.ext4"

    async def _blank(self, size: int) -> Path:
        path = self._blank_path(size)
        async with self._making:
            if not path.exists():
                await self._make_blank(path, size)
        return path

    async def _make_blank(self, path: Path, size: int) -> None:
        made, dense = path.with_suffix(".new"), path.with_suffix(".dense.new")
        try:
            with dense.open("wb") as file:
                file.truncate(size)
            process = await asyncio.create_subprocess_exec(
                *_MKFS,
                str(dense),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            _, words = await process.communicate()
            if process.returncode != 0:
                raise Internal(f"mkfs.ext4 failed: {words.decode(errors='replace').strip()[:500]}", "see `doctor`")
            # mkfs reserves blocks that hold nothing; a copy of the data alone does not.
            await asyncio.to_thread(clone, dense, made, False)
            made.rename(path)
        except OSError as error:
            raise _no_space(error, path) from error
        finally:
            made.unlink(missing_ok=True)
            dense.unlink(missing_ok=True)


def _delete(path: Path) -> None:
    """Whatever it is; a link is removed, not followed."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)


def _no_space(error: OSError, path: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space for {path}", "remove containers or images (hypercell system prune)")
    if isinstance(error, FileNotFoundError) and error.filename == _MKFS[0]:
        return Internal("mkfs.ext4 is not installed", "install the package e2fsprogs")
    return Internal(f"cannot make {path}: {error.strerror}")
