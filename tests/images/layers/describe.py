# SPDX-License-Identifier: Apache-2.0
"""One description of a tree, of a directory and of an image alike, to compare file by file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.images.layers.erofs_image import ErofsImage

Description = dict[bytes, tuple[object, ...]]
"""path -> (mode, uid, gid, mtime in ns, links, device, size, first name of the hard links, xattrs, content)"""


def of_directory(root: Path) -> Description:
    found: Description = {}
    groups: dict[int, bytes] = {}
    top = os.fsencode(root)
    names = [b"."]
    for here, directories, files in os.walk(top):
        names += [os.path.relpath(here + b"/" + name, top) for name in directories + files]
    for name in sorted(names):
        path = top + b"/" + name
        info = os.lstat(path)
        body = b""
        if stat.S_ISLNK(info.st_mode):
            body = os.readlink(path)  # noqa: PTH115 - a path of bytes
        elif stat.S_ISREG(info.st_mode):
            with open(path, "rb") as file:  # noqa: PTH123 - a path of bytes
                body = file.read()
        is_directory = stat.S_ISDIR(info.st_mode)
        xattrs = {
            os.fsencode(key): os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        found[name] = (
            info.st_mode,
            info.st_uid,
            info.st_gid,
            info.st_mtime_ns,
            info.st_nlink,
            (os.major(info.st_rdev), os.minor(info.st_rdev)),
            0 if is_directory else info.st_size,
            name if is_directory else groups.setdefault(info.st_ino, name),
            xattrs,
            body,
        )
    return found


def of_image(image: ErofsImage) -> Description:
    found: Description = {}
    groups: dict[int, bytes] = {}
    for name, file in sorted(image.tree().items()):
        is_directory = file.kind == stat.S_IFDIR
        found[name] = (
            file.mode,
            file.uid,
            file.gid,
            file.mtime_ns,
            file.links,
            (file.rdev >> 8 & 0xFFF, file.rdev & 0xFF | file.rdev >> 12 & 0xFFF00),
            0 if is_directory else file.size,
            name if is_directory else groups.setdefault(file.nid, name),
            file.xattrs,
            image.content(file) if file.kind in (stat.S_IFREG, stat.S_IFLNK) else b"",
        )
    return found
