# SPDX-License-Identifier: Apache-2.0
"""What goes into a root image and what comes out: the types of `images.layers.build_root`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


@dataclass(frozen=True, slots=True)
class LayerSource:
    """One layer of an image, lowest first in every sequence of them."""

    blob: Path
    """A tar archive: plain, gzip, zstd, xz or bzip2, recognised by its first bytes. Whether the declared media type
    is one for a layer is the caller's to check."""
    diff_id: str
    """`sha256:` + digest of the uncompressed archive; verified while reading."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one image may ask of this machine. Whoever exceeds one gets `LimitExceeded`."""

    layers: int = 128
    members: int = 1 << 22
    """Archive members in all layers together."""
    inodes: int = 1 << 20
    """Files, directories and the like that exist at one time."""
    depth: int = 512
    """Directories above a file."""
    metadata_bytes: int = 256 * MIB
    """Names, symlink targets, xattrs and hole maps: what is held in memory."""
    xattr_bytes: int = 64 * KIB
    """Names and values of one file's xattrs."""
    file_bytes: int = TIB
    """Apparent size of one file, holes included."""
    layer_bytes: int = 64 * GIB
    """One layer, uncompressed."""
    image_bytes: int = TIB
    """Apparent size of the root image; what it takes on disk is bounded by the layers' bytes."""
    ratio: int = 256
    """A layer may uncompress to `ratio` times its compressed size, and `ratio_floor` in any case."""
    ratio_floor: int = GIB
    frames: int = 1 << 20
    """gzip members, zstd frames, xz streams in one layer."""
    memory_bytes: int = 2 * GIB
    """Address space of the process that builds."""
    cpu_seconds: int = 900
    """Processor time of the process that builds."""


@dataclass(frozen=True, slots=True)
class RootStats:
    chain_id: str
    """image-spec `config.md`, "Layer ChainID": identifies the ordered layers."""
    inodes: int
    content_bytes: int
    """Sum of the sizes of all regular files, each counted once however many links it has."""
    image_bytes: int
    """Apparent size of the root image."""
    disk_bytes: int
    """What it takes on disk; less than `image_bytes` where it has holes."""
    layer_bytes: tuple[int, ...]
    """Uncompressed size of each layer's archive."""
    layer_content_bytes: tuple[int, ...]
    """What each layer takes unpacked by itself, as docker counts it: its files, each once, and targets of symlinks."""


ProgressCallback = Callable[[int, int], None]
"""`(index of the layer, bytes of its blob read so far)`, at most once per MiB, and once at the layer's end."""
