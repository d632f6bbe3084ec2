# SPDX-License-Identifier: Apache-2.0
"""A file that appears under its name complete, on disk and read-only, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

PARTIAL = ".partial"
"""Suffix of what a crash can leave behind in the directory; safe to delete when nothing is being built."""
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


class PendingFile:
    """Writable at `fd` (mode 0600) until `publish` or `discard`.

    It has no name until then, where the file system can do that (O_TMPFILE), so that not even `kill -9` leaves
    anything; elsewhere it has one that ends in `.partial`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        self._named = False
        try:
            self.fd = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            self.fd = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._named = True

    def publish(self, mode: int) -> None:
        """Put the file under its name, replacing what is there, when it has reached the disk. Blocks."""
        os.fsync(self.fd)
        os.fchmod(self.fd, mode)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not self._named:
                os.link(f"/proc/self/fd/{self.fd}", self._partial.name, dst_dir_fd=directory, follow_symlinks=True)
                self._named = True
            os.rename(self._partial.name, self._path.name, src_dir_fd=directory, dst_dir_fd=directory)
            self._named = False
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self) -> None:
        """Close the file; forget it, unless it was published."""
        os.close(self.fd)
        if self._named:
            self._partial.unlink(missing_ok=True)
