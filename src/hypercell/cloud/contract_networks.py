# SPDX-License-Identifier: Apache-2.0
"""What the doors ask of the cloud about networks."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Protocol

from hypercell.node.network import NetworkRecord, NetworkSpec, Wish

__all__ = ["NetworkRecord", "NetworkSpec", "Networks", "Wish"]


class Networks(Protocol):
    """`ref` is an id, a name or a unique prefix of an id, looked up among the built-in networks and the tenant's own.
    Every method raises `NotFound` (docker's words: `network x not found`) and `InvalidArgument` for an ambiguous
    prefix."""

    def find(self, tenant: str, ref: str) -> NetworkRecord: ...

    def list(self, tenant: str) -> builtins.list[NetworkRecord]:
        """The built-in ones first, then the oldest."""

    async def create(self, tenant: str, spec: NetworkSpec) -> NetworkRecord:
        """`Conflict` for a name that is taken, `Forbidden` for a built-in one's, or a subnet that overlaps."""

    async def remove(self, tenant: str, ref: str) -> None:
        """`Forbidden` for a built-in one, and while a container is on it."""

    async def connect(self, tenant: str, ref: str, container: str, wish: Wish) -> None: ...
    async def disconnect(self, tenant: str, ref: str, container: str) -> None: ...

    async def prune(self, tenant: str, keep: Callable[[NetworkRecord], bool]) -> builtins.list[str]:
        """Remove those that no container is on and *keep* does not want; their names."""
