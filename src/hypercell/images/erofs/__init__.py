# SPDX-License-Identifier: Apache-2.0
"""A writer of EROFS, the kernel's read-only file system (Linux: Documentation/filesystems/erofs.rst)."""
