# SPDX-License-Identifier: Apache-2.0
"""How many files a log is kept in, and how long each may be."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.node.types import LogSpec

FILES = 5
"""Of a container that does not say: a rotation then drops a fifth of its log."""


@dataclass(frozen=True, slots=True)
class Rotation:
    files: int
    """Two at least: the one before that which is begun tells a successor where the streams stand."""
    size: int
    """Bytes of each; one record may be more than that, and then has a file for itself."""
    compress: bool = False


def rotation(spec: LogSpec, total: int) -> Rotation:
    """*total*: the operator's bytes for one container, for what *spec* leaves open.

    One file is kept in two halves. docker empties its only file; here the last half is always there, and no crash
    finds the log without its end.
    """
    files = spec.files or FILES
    size = spec.file_size or total // files
    if files == 1:
        files, size = 2, size // 2
    return Rotation(files, max(size, 1), spec.compress)
