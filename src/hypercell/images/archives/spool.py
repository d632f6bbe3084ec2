# SPDX-License-Identifier: Apache-2.0
"""An image archive, streamed into the content store: every file of it becomes a blob named by its digest.

Names of members are only ever keys of a dictionary. What turns out to be no part of an image is swept later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from hypercell.base.errors import InvalidArgument
from hypercell.images.blobs import BlobStore, Lease
from hypercell.images.digests import Digest
from hypercell.images.documents import MAX_DOCUMENT
from hypercell.images.layers import Expansion, Limits, decompress
from hypercell.images.layers.decompress import sniff
from hypercell.images.tar import ByteSource, LayerError, Member, TarReader

LIMITS = Limits()
"""An archive of images may be as large, and as densely compressed, as one layer."""
MAX_MEMBERS = 10_000
MAX_NAME = 4096
MAX_LINKS = 8
"""Links from member to member that are followed."""
_SNIFFED = 16


@dataclass(frozen=True, slots=True)
class Spooled:
    digest: Digest
    size: int
    compression: str
    """gzip, zstd, xz, bzip2 or none, by its first bytes."""


@dataclass(slots=True)
class Spool:
    """The files of one archive, all in the store and leased."""

    store: BlobStore
    files: dict[str, Spooled] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Spooled | None:
        """The file that *name* stands for in the archive, through links."""
        key = _key(name)
        for _ in range(MAX_LINKS):
            if key in self.files:
                return self.files[key]
            if key not in self.links:
                return None
            key = self.links[key]
        return None

    def by_digest(self, digest: Digest) -> Spooled | None:
        """The file with that content, whatever its name is."""
        return next((file for file in self.files.values() if file.digest == digest), None)

    def document(self, name: str) -> bytes | None:
        """A small file's bytes; None when the archive has no such file."""
        found = self.find(name)
        return None if found is None else self.store.read(found.digest, MAX_DOCUMENT)


def fill(stream: BinaryIO, store: BlobStore, lease: Lease) -> Spool:
    """Read the archive in *stream*, compressed or not, to its end. Blocks.

    Raises `InvalidArgument` for what is no archive or exceeds a bound, `NoSpace`.
    """
    expansion = Expansion(LIMITS.layer_bytes, LIMITS.ratio, LIMITS.ratio_floor, LIMITS.frames)
    spool = Spool(store)
    try:
        source = ByteSource(decompress(stream, expansion))
        reader = TarReader(source)
        for count, member in enumerate(reader):
            if count >= MAX_MEMBERS:
                raise InvalidArgument(f"the archive has more than {MAX_MEMBERS} members")
            _member(reader, member, spool, lease)
        # What follows the archive is padding, but must be there: a checksum may be at its very end.
        source.drain()
    except LayerError as error:
        raise InvalidArgument(f"not a usable image archive: {error.rule}", error.hint) from error
    return spool


def _member(reader: TarReader, member: Member, spool: Spool, lease: Lease) -> None:
    if member.kind == "directory":
        return
    key = _key(_decoded(member.name))
    if key in spool.files or key in spool.links:
        raise InvalidArgument(f"the archive has {key[:200]!r} twice")
    if member.kind == "file" and member.sparse is None:
        spool.files[key] = _store(reader, spool.store, lease)
    elif member.kind == "symlink":
        spool.links[key] = _key(f"{key}/../{_decoded(member.linkname)}")
    elif member.kind == "link":
        spool.links[key] = _key(_decoded(member.linkname))
    else:
        raise InvalidArgument(f"the archive has a {member.kind} where only files belong: {key[:200]!r}")


def _store(reader: TarReader, store: BlobStore, lease: Lease) -> Spooled:
    start = b""
    with store.writer() as writer:
        for view in reader.data():
            if len(start) < _SNIFFED:
                start += bytes(view[:_SNIFFED])
            writer.write(view)
        return Spooled(writer.commit(lease), writer.size, sniff(start))


def _decoded(name: bytes) -> str:
    if len(name) > MAX_NAME:
        raise InvalidArgument(f"the archive has a name of more than {MAX_NAME} bytes")
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"the archive has a name that is not UTF-8: {name[:100]!r}") from None


def _key(name: str) -> str:
    """*name* without `.`, `..` and doubled slashes. Not a path: nothing is opened by it."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
