# SPDX-License-Identifier: Apache-2.0
"""The work itself, on open files only: layers in, image out. Runs in the child process that `build_root` starts."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from hypercell.base.errors import NoSpace
from hypercell.images.erofs import ImageFull, ImageWriter, Spool
from hypercell.images.layers.contract import MIB, Limits, ProgressCallback, RootStats
from hypercell.images.layers.decompress import Expansion, decompress
from hypercell.images.layers.merge import Merger
from hypercell.images.layers.prefetch import Prefetch
from hypercell.images.tar import ByteSource, DigestMismatch, LayerError, LimitExceeded, TarReader

_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}")
_NAMESPACE = uuid.UUID("6b1f3f0e-5d0c-5b8e-9a53-0c6f6d1c7e11")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def chain_id(diff_ids: Sequence[str]) -> str:
    """image-spec `config.md`, "Layer ChainID". Errors: `LayerError` for what is not a SHA-256 diff id, or none."""
    for diff_id in diff_ids:
        if not _DIFF_ID.fullmatch(diff_id):
            raise LayerError(f"{diff_id[:100]!r} is not a SHA-256 diff id")
    if not diff_ids:
        return "sha256:" + hashlib.sha256(b"").hexdigest()
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
    return chain


class _Layer:
    """One layer's stream: counted, hashed, its progress told."""

    def __init__(self, index: int, stream: BinaryIO, limits: Limits, progress: ProgressCallback) -> None:
        self.expansion = Expansion(limits.layer_bytes, limits.ratio, limits.ratio_floor, limits.frames)
        self.index = index
        self._stream = stream
        self._progress = progress
        self._hash = hashlib.sha256()

    def chunks(self) -> Iterator[bytes]:
        told = 0
        for chunk in decompress(self._stream, self.expansion):
            self._hash.update(chunk)
            if self.expansion.read - told >= MIB:
                told = self.expansion.read
                self._progress(self.index, told)
            yield chunk
        self._progress(self.index, self.expansion.read)

    def verify(self, diff_id: str) -> None:
        actual = "sha256:" + self._hash.hexdigest()
        if actual != diff_id:
            raise DigestMismatch(f"its archive has the digest {actual}, not {diff_id}", layer=self.index)


def write_root(
    layers: Sequence[tuple[BinaryIO, str]],
    image_fd: int,
    scratch_fd: int,
    limits: Limits,
    progress: ProgressCallback,
) -> RootStats:
    """Merge `layers`, pairs of (blob, diff id), lowest first, into the empty file `image_fd`.

    `scratch_fd` is another empty file, of no use afterwards. `progress` is called from a thread.
    Errors: `LayerError`, `NoSpace`, OSError.
    """
    if len(layers) > limits.layers:
        raise LimitExceeded(f"an image of more than {limits.layers} layers")
    chain = chain_id([diff_id for _, diff_id in layers])
    spool = Spool(image_fd, scratch_fd, limits.image_bytes)
    merger = Merger(spool, limits)
    sizes: list[int] = []
    contents: list[int] = []
    try:
        for index, (stream, diff_id) in enumerate(layers):
            sizes.append(_merge(merger, _Layer(index, stream, limits, progress), diff_id))
            contents.append(merger.layer_bytes)
        written = ImageWriter(image_fd, spool, uuid.uuid5(_NAMESPACE, chain).bytes).write(merger.tree.root)
    except ImageFull as error:
        raise LimitExceeded(str(error)) from error
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise NoSpace("no space left for the image's root", "free space under the state directory") from error
        if error.errno == errno.EFBIG:
            raise LimitExceeded("the root image is larger than a file may be here") from error
        raise
    return RootStats(
        chain_id=chain,
        inodes=written.inodes,
        content_bytes=merger.content_bytes,
        image_bytes=written.image_bytes,
        disk_bytes=os.fstat(image_fd).st_blocks * 512,
        layer_bytes=tuple(sizes),
        layer_content_bytes=tuple(contents),
    )


def _merge(merger: Merger, layer: _Layer, diff_id: str) -> int:
    """One layer into the tree. Returns the size of its archive."""
    try:
        with Prefetch(layer.chunks()) as chunks:
            source = ByteSource(chunks)
            merger.apply(TarReader(source))
            source.drain()  # what stands behind the archive's end counts for its digest
    except LayerError as error:
        raise type(error)(error.rule, error.member, layer.index) from error
    layer.verify(diff_id)
    return layer.expansion.written
