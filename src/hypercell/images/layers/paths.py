# SPDX-License-Identifier: Apache-2.0
"""Names of archive members as paths of the tree: a tuple of components, nothing that points elsewhere."""

from __future__ import annotations

from hypercell.images.tar import LimitExceeded, MalformedArchive

MAX_PATH = 4096
MAX_COMPONENT = 255

Path = tuple[bytes, ...]
"""Components below the root; empty is the root."""


def split(name: bytes, member: bytes, what: str = "name") -> Path:
    """Leading slashes and `.` components go, as every unpacker has it; `..` is refused wherever it stands, since
    unpackers resolve it differently. Errors: `MalformedArchive`, `LimitExceeded`."""
    if not name:
        raise MalformedArchive(f"an empty {what}", member)
    if len(name) > MAX_PATH:
        raise LimitExceeded(f"a {what} of more than {MAX_PATH} bytes", member)
    if b"\x00" in name:
        raise MalformedArchive(f"a NUL in the {what}", member)
    parts = tuple(part for part in name.split(b"/") if part and part != b".")
    for part in parts:
        if part == b"..":
            raise MalformedArchive(f"a {what} with .. in it", member)
        if len(part) > MAX_COMPONENT:
            raise LimitExceeded(f"a {what} with a component of more than {MAX_COMPONENT} bytes", member)
    return parts
