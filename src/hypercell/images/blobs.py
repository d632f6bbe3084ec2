# SPDX-License-Identifier: Apache-2.0
"""The content store: blobs by digest under `blobs/sha256/<hex>`, each kept exactly as it came.

A blob is written to `tmp/`, synced, and renamed: what has a digest for a name is whole, whenever the machine stopped.
Nothing is ever opened by a name that an image, an archive or a registry gave.

What is in flight is leased. A sweep removes what is neither reachable nor was leased at any time since the sweep
began, so a blob cannot vanish between being found and being recorded.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hypercell.base.errors import Internal, InvalidArgument, NoSpace
from hypercell.images import digests
from hypercell.images.digests import Digest

_SPACE_CHECK_BYTES = 16 * 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)


class BlobStore:
    """One daemon's store under *root*. Safe to use from several threads."""

    def __init__(self, root: Path, reserve_bytes: int = 0) -> None:
        self.root = root
        self.directory = root / "blobs" / "sha256"
        self.temporary = root / "tmp"
        self.reserve_bytes = reserve_bytes
        self._lock = threading.Lock()
        self._leases: Counter[Digest] = Counter()
        self._touched: set[Digest] | None = None
        """While a sweep runs: all that was leased since it began."""

    def open(self) -> None:
        """Make the directories; remove what an earlier daemon was still writing."""
        for directory in (self.directory, self.temporary):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        # Hypervisors, each its own user, pass through here on their way to a root.
        self.root.chmod(0o711)
        for leftover in self.temporary.iterdir():
            leftover.unlink()

    def path(self, digest: Digest) -> Path:
        return self.directory / digests.hex_of(digest)

    def size(self, digest: Digest) -> int | None:
        """Bytes of the blob; None when it is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, digest: Digest, limit: int) -> bytes:
        """A small blob, verified again. `Internal` when it is lost or damaged, `InvalidArgument` above *limit*."""
        try:
            with self.path(digest).open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise Internal(f"the blob {digest} is missing from the store", "pull the image again") from None
        if len(data) > limit:
            raise InvalidArgument(f"the blob {digest} is larger than {limit} bytes")
        if digests.of(data) != digest:
            raise Internal(f"the blob {digest} is damaged on disk", "remove the image and pull it again")
        return data

    def writer(self) -> BlobWriter:
        return BlobWriter(self, self.temporary / secrets.token_hex(16))

    def put(self, data: bytes, lease: Lease) -> Digest:
        with self.writer() as writer:
            writer.write(data)
            return writer.commit(lease)

    def require_space(self, size: int) -> None:
        """Raises `NoSpace` unless *size* more bytes leave the reserve free."""
        free = shutil.disk_usage(self.root).free
        if free - size < self.reserve_bytes:
            raise NoSpace(
                f"not enough space for images: {size} bytes needed, {free} free, {self.reserve_bytes} kept in reserve",
                "remove images with `rmi` or `system prune`",
            )

    @contextlib.contextmanager
    def lease(self) -> Iterator[Lease]:
        """A lease for the time of one operation: what is added to it is not swept before the operation ends."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            lease.release()

    def take(self, digest: Digest) -> None:
        with self._lock:
            self._leases[digest] += 1
            if self._touched is not None:
                self._touched.add(digest)

    def give_back(self, digest: Digest) -> None:
        with self._lock:
            self._leases[digest] -= 1
            if not self._leases[digest]:
                del self._leases[digest]

    def begin_sweep(self) -> None:
        """Call before asking the database what is reachable. One sweep at a time: the caller holds a lock."""
        with self._lock:
            self._touched = set(self._leases)

    def end_sweep(self) -> None:
        with self._lock:
            self._touched = None

    def sweep(self, directory: Path, suffix: str, reachable: set[Digest]) -> int:
        """Remove every `<hex><suffix>` of *directory* that nothing wants; returns the bytes freed. Blocks."""
        freed = 0
        for entry in os.scandir(directory):
            hexadecimal = entry.name.removesuffix(suffix)
            digest = Digest(f"sha256:{hexadecimal}")
            if digest in reachable:
                continue
            with self._lock:
                if self._touched is None or digest in self._touched:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    freed += entry.stat(follow_symlinks=False).st_blocks * 512
                    Path(entry.path).unlink()
        return freed

    def disk_usage(self) -> int:
        return allocated(self.directory)


class Lease:
    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._held: list[Digest] = []

    def add(self, digest: Digest) -> None:
        self._store.take(digest)
        self._held.append(digest)

    def release(self) -> None:
        while self._held:
            self._store.give_back(self._held.pop())


class BlobWriter:
    """A blob on its way in. Use as a context manager: unless committed, it leaves nothing behind. Methods block."""

    def __init__(self, store: BlobStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._hash = hashlib.sha256()
        self._unchecked = 0
        self._committed = False
        self.size = 0
        """Bytes written so far."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._unchecked += len(data)
        if self._unchecked >= _SPACE_CHECK_BYTES:
            self._unchecked = 0
            self._store.require_space(0)
        view = memoryview(data)
        with disk_errors():
            while view:
                view = view[os.write(self._fd, view) :]
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Forget what was written."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> Digest:
        return Digest("sha256:" + self._hash.hexdigest())

    def commit(self, lease: Lease, expected: Digest | None = None) -> Digest:
        """Into the store, durably. Raises `InvalidArgument` when the content is not what *expected* names."""
        digest = self.digest
        if expected is not None and digest != expected:
            raise InvalidArgument(f"the content of {expected} is wrong: its digest is {digest}")
        lease.add(digest)
        with disk_errors():
            os.fsync(self._fd)
            self._path.rename(self._store.path(digest))
            self._committed = True
            sync_directory(self._store.directory)
        return digest

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if not self._committed:
                self._path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def allocated(directory: Path) -> int:
    """Bytes that the files of *directory* take on disk."""
    return sum(allocations(directory).values())


def allocations(directory: Path, suffix: str = "") -> dict[str, int]:
    """By digest, the bytes that each `<hex><suffix>` of *directory* takes on disk."""
    found: dict[str, int] = {}
    for entry in os.scandir(directory):
        with contextlib.suppress(FileNotFoundError):
            found["sha256:" + entry.name.removesuffix(suffix)] = entry.stat(follow_symlinks=False).st_blocks * 512
    return found


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Errors of the disk under the store, in the house's terms."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace("the disk that holds images is full", "remove images or make room, and try again") from error
        raise Internal(f"the image store cannot be written: {error.strerror}") from error
