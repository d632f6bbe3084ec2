# SPDX-License-Identifier: Apache-2.0
"""A strict, streaming reader of tar archives. What two readers could understand differently is refused."""

from hypercell.images.tar.errors import DigestMismatch, LayerError, LimitExceeded, MalformedArchive, printable
from hypercell.images.tar.reader import Member, TarReader
from hypercell.images.tar.source import ByteSource
from hypercell.images.tar.sparse import SparseMap

__all__ = [
    "ByteSource",
    "DigestMismatch",
    "LayerError",
    "LimitExceeded",
    "MalformedArchive",
    "Member",
    "SparseMap",
    "TarReader",
    "printable",
]
