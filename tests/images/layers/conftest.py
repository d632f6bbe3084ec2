# SPDX-License-Identifier: Apache-2.0
"""Build roots from archives in memory, and see that nothing but the open files is touched."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hypercell.images.layers import Expansion, LayerError, Limits, decompress
from hypercell.images.layers.write import write_root
from tests.images.layers.erofs_image import ErofsImage

_watching = False
_seen: list[tuple[str, Any]] = []
_PATH_EVENTS = ("open", "os.", "shutil.", "subprocess.", "socket.", "ctypes.dlopen")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Python tells of every call that takes a path before it is made; those on open files have a number for it."""
    if _watching and event.startswith(_PATH_EVENTS) and not isinstance(arguments[0], int):
        _seen.append((event, arguments))


sys.addaudithook(_audit)


@contextlib.contextmanager
def no_path_touched() -> Iterator[None]:
    """Nothing is opened, made, linked, renamed, removed or changed by its path, whatever the outcome."""
    global _watching
    _seen.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
        assert _seen == []


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def plain(layer: bytes) -> bytes:
    """The archive in a layer that may be compressed; of a broken one, itself."""
    try:
        return b"".join(decompress(io.BytesIO(layer), Expansion(1 << 30, 1 << 30, 1 << 30)))
    except LayerError:
        return layer


Build = Callable[..., ErofsImage]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """`build(layer, …)` merges archives in this process. It touches no path, and `fsck.erofs` accepts every image."""

    def merge(*layers: bytes, limits: Limits | None = None) -> ErofsImage:
        path = tmp_path / "root.erofs"
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        with tempfile.TemporaryFile() as scratch:
            try:
                streams = [(io.BytesIO(layer), digest(plain(layer))) for layer in layers]
                with no_path_touched():
                    write_root(streams, fd, scratch.fileno(), limits or Limits(), lambda layer, read: None)
            finally:
                os.close(fd)
        subprocess.run(["fsck.erofs", str(path)], check=True, capture_output=True)
        return ErofsImage(path)

    return merge
