# SPDX-License-Identifier: Apache-2.0
"""The size classes of the container cloud (s1 … l3): one name for a number of vCPUs and an amount of memory."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.base.errors import InvalidArgument

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Size:
    name: str
    vcpus: int
    memory: int
    """Bytes that the container may use; the guest kernel's own share comes on top."""


SIZES = {
    size.name: size
    for size in (
        Size("s1", 1, 64 * MIB),
        Size("s2", 1, 128 * MIB),
        Size("s3", 1, 256 * MIB),
        Size("s4", 1, 512 * MIB),
        Size("m1", 1, 1024 * MIB),
        Size("m2", 2, 2048 * MIB),
        Size("m3", 2, 4096 * MIB),
        Size("l1", 4, 4096 * MIB),
        Size("l2", 4, 8192 * MIB),
        Size("l3", 8, 16384 * MIB),
    )
}
DEFAULT_SIZE = SIZES["s4"]


def size_named(name: str) -> Size:
    """The size class called *name*, in either case. Raises `InvalidArgument`."""
    try:
        return SIZES[name.lower()]
    except KeyError:
        raise InvalidArgument(f"unknown size {name!r}", f"choose one of {', '.join(SIZES)}") from None
