# SPDX-License-Identifier: Apache-2.0
"""A writer of EROFS, the kernel's read-only file system (Linux: Documentation/filesystems/erofs.rst)."""

from hypercell.images.erofs.inode import Content, Inode, Xattrs
from hypercell.images.erofs.spool import ImageFull, Spool
from hypercell.images.erofs.writer import ImageStats, ImageWriter

__all__ = ["Content", "ImageFull", "ImageStats", "ImageWriter", "Inode", "Spool", "Xattrs"]
