# SPDX-License-Identifier: Apache-2.0
"""The container of ours that templates carry out (`vm/factory/warming.py`): its image and its writable layer."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hypercell.base.config import Config
from hypercell.images.layers.contract import Limits
from hypercell.images.layers.write import write_root
from hypercell.images.threads import in_thread
from hypercell.node.spec import ContainerSpec, Json
from hypercell.node.storage import Storage
from hypercell.vm.driver import Disk, Slot

PROGRAM = "/bin/rehearse"
"""guest/rehearse/rehearse.c; where it lies and how it is found is as in most images."""
_DIRECTORIES = ("etc", "proc", "tmp", "usr", "usr/bin")
"""What is not there is made for the container."""
_LINK, _TARGET = "bin", "usr/bin"


class WarmingSample:
    """Implements `factory.Sample`."""

    def __init__(self, config: Config, storage: Storage, spec: ContainerSpec) -> None:
        self._program = config.guest_dir / "rehearse"
        self._directory = config.run / "warming"
        self._size = config.rootfs_size
        self._storage = storage
        self._spec = spec
        self._making = asyncio.Lock()
        self._image: Path | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        return self._spec.oci

    @property
    def files(self) -> tuple[Json, ...]:
        return self._spec.files

    @asynccontextmanager
    async def disks(self, vm_id: str) -> AsyncIterator[dict[Slot, Disk]]:
        """Raises `OSError`, and what storage raises."""
        async with self._making:
            if self._image is None:
                self._image = await in_thread(self._make)
        scratch = self._directory / f"{vm_id}.rw"
        await self._storage.copy_blank(self._size, scratch)
        try:
            yield {Slot.ROOT: Disk(self._image, read_only=True), Slot.WRITABLE: Disk(scratch, read_only=False)}
        finally:
            scratch.unlink(missing_ok=True)

    def _make(self) -> Path:
        """An image of one program, in a directory emptied of what an earlier daemon left."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(mode=0o700, parents=True)
        layer = _layer(self._program.read_bytes())
        diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
        path = self._directory / "root.erofs"
        with path.open("xb+") as image, tempfile.TemporaryFile(dir=self._directory) as scratch:
            write_root([(io.BytesIO(layer), diff_id)], image.fileno(), scratch.fileno(), Limits(), _silent)
        return path


def _layer(program: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in _DIRECTORIES:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        member = tarfile.TarInfo(_LINK)
        member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, _TARGET
        tar.addfile(member)
        member = tarfile.TarInfo(f"{_TARGET}/{PROGRAM.rpartition('/')[2]}")
        member.mode, member.size = 0o755, len(program)
        tar.addfile(member, io.BytesIO(program))
    return out.getvalue()


def _silent(index: int, read: int) -> None:
    pass
