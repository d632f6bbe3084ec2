# SPDX-License-Identifier: Apache-2.0
"""What a volume is: a disk with a name, which outlives the containers that use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ANONYMOUS = "com.docker.volume.anonymous"
"""docker's label of a volume that nobody has named."""
_SERIAL = 20
"""Digits of an id: as long as the name of a disk may be."""


@dataclass(frozen=True, slots=True)
class Volume:
    id: str
    tenant: str
    name: str
    created_ns: int
    size: int
    """Bytes of its file system."""
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    """As whoever made it gave them."""
    clean: bool = False
    """Its file system was last let go of in order, so it can be mounted without being written to."""

    @property
    def anonymous(self) -> bool:
        return ANONYMOUS in self.labels


@dataclass(slots=True)
class HeldVolume:
    """A volume in a VM, or on its way there."""

    read_only: bool
    users: set[str] = field(default_factory=set)
    """Ids of the containers for which it is there."""
    plugged: bool = False


def serial(volume_id: str) -> str:
    """The name under which a VM has the disk of a volume, and the guest finds it."""
    return volume_id[:_SERIAL]
