# SPDX-License-Identifier: Apache-2.0
"""Volumes' and binds' part of what the doors ask of the cloud (`contract`)."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MountRequest:
    """A volume that a container wants, in whatever way it was said."""

    target: str
    volume: str = ""
    """Its name; empty: one of the container's own is made."""
    read_only: bool = False
    copy: bool = True
    """An empty volume gets what the image has at the target."""
    subpath: str = ""
    """The directory of the volume that is mounted; empty: all of it."""
    mode: str = ""
    """What docker shows as the mount's mode."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the volume, as `options`, if it is made now."""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BindRequest:
    """A file or directory of the host that a container wants."""

    target: str
    source: str
    """Absolute."""
    read_only: bool = False
    make: bool = False
    """A directory, if there is nothing at the container's start."""
    recursive: bool = True
    """With what is mounted below it."""
    mode: str = ""
    """What docker shows as the mount's mode."""


@dataclass(frozen=True, slots=True)
class VolumesFrom:
    """All volumes of another container, at the same places."""

    container: str
    """Its name or id."""
    mode: str = "rw"

    @property
    def read_only(self) -> bool:
        return "ro" in self.mode.split(",")


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume in a container."""

    target: str
    volume: str
    """Its id."""
    name: str
    read_only: bool = False
    copy: bool = True
    subpath: str = ""
    mode: str = ""
    own: bool = False
    """Nobody named it: it goes with the container if that is asked for."""


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    name: str = ""
    """Empty: one is made up, and the volume is anonymous."""
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    """`size`, as docker writes sizes; others are refused."""


@dataclass(frozen=True, slots=True)
class VolumeView:
    name: str
    tenant: str
    created_ns: int
    size: int
    """Bytes that it may hold."""
    labels: Mapping[str, str]
    options: Mapping[str, str]
    anonymous: bool
    users: tuple[str, ...] = ()
    """Ids of the containers that were made with it."""
    used: int | None = None
    """Bytes on the disk; None: nobody asked."""


class Volumes(Protocol):
    """Volumes go by their names, looked up in the tenant only; `NotFound` says `get x: no such volume`, as docker."""

    async def create(self, tenant: str, request: VolumeRequest) -> VolumeView:
        """One of that name that is there already is it, whatever its labels and options. Raises `InvalidArgument`,
        `Unsupported` (an option), `NoSpace`."""

    async def list(self, tenant: str, sizes: bool = False) -> builtins.list[VolumeView]:
        """By name."""

    async def inspect(self, tenant: str, name: str) -> VolumeView: ...

    async def remove(self, tenant: str, name: str, force: bool = False) -> None:
        """`Conflict` while a container was made with it. *force*: it may be missing."""

    async def prune(self, tenant: str, wanted: Callable[[VolumeView], bool]) -> tuple[builtins.list[str], int]:
        """Remove the *wanted* ones that no container was made with: (names, bytes freed)."""
