# SPDX-License-Identifier: Apache-2.0
"""Blank disks: sparse raw ext4 images, from which writable layers and volumes are copied.

One is made of each size and copied by its data extents (some 150 KiB), so making a disk starts no program. The host
never mounts one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from pathlib import Path

from hypercell.base.config import Config
from hypercell.base.errors import Internal, NoSpace
from hypercell.base.sparse import clone

DISK_STEP = 64 * 1024**2
"""Disks are sized in steps, as a blank one of each size is kept."""
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


class Blanks:
    def __init__(self, config: Config) -> None:
        self._root = config.root
        self._blanks = config.root / "blank"
        self._reserve = config.reserve_bytes
        self._making = asyncio.Lock()

    def open(self) -> None:
        self._blanks.mkdir(mode=0o700, parents=True, exist_ok=True)

    def check_reserve(self) -> None:
        """Raises `NoSpace` when less than the reserve is free."""
        status = os.statvfs(self._root)
        free = status.f_bavail * status.f_frsize
        if free < self._reserve:
            raise NoSpace(
                f"only {free >> 20} MiB are free under {self._root}, and {self._reserve >> 20} MiB are kept in reserve",
                "remove containers or images (hypercell system prune), or lower `reserve_bytes`",
            )

    async def of(self, size: int) -> Path:
        """A blank disk of *size* bytes, to be cloned. Raises `NoSpace`, `Internal`."""
        path = self._path(size)
        async with self._making:
            if not path.exists():
                await self._make(path, size)
        return path

    def used(self, disk: Path, size: int) -> int:
        """Bytes that a disk of *size* takes beyond a blank one's; 0 for one that is not there."""
        try:
            blocks = disk.stat().st_blocks
            blank = self._path(size).stat().st_blocks
        except FileNotFoundError:
            return 0
        return max(0, blocks - blank) * 512

    def sweep(self) -> None:
        """Delete what was not finished."""
        for unfinished in self._blanks.glob("*.new"):
            unfinished.unlink(missing_ok=True)

    def _path(self, size: int) -> Path:
        return self._blanks / f"{size}.ext4"

    async def _make(self, path: Path, size: int) -> None:
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
            raise no_space(error, path) from error
        finally:
            made.unlink(missing_ok=True)
            dense.unlink(missing_ok=True)


def rounded(size: int) -> int:
    """*size* bytes as a whole number of steps."""
    return -(-size // DISK_STEP) * DISK_STEP


def delete(path: Path) -> None:
    """Whatever it is; a link is removed, not followed."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)


def no_space(error: OSError, path: Path) -> Exception:
    """What to raise for an *error* in making *path*."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space for {path}", "remove containers or images (hypercell system prune)")
    if isinstance(error, FileNotFoundError) and error.filename == _MKFS[0]:
        return Internal("mkfs.ext4 is not installed", "install the package e2fsprogs")
    return Internal(f"cannot make {path}: {error.strerror}")
