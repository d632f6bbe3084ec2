# SPDX-License-Identifier: Apache-2.0
"""What one client may take of the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    head_bytes: int = 64 * 1024
    """Request line and headers together (registry tokens in X-Registry-Auth are long)."""
    head_seconds: float = 10.0
    """From the first byte of a request (or the connection's start) to the end of its head."""
    idle_seconds: float = 180.0
    """Between requests."""
    body_seconds: float = 120.0
    """For all of a body that is kept in memory; of one that is streamed to where it belongs, between two bytes."""
    body_bytes: int = 64 * 1024 * 1024
    """Of bodies that are kept in memory, all together (see `body.FREE_BYTES`)."""
    drain_seconds: float = 60.0
    """A client that does not read a complete answer."""
    connections: int = 4096
    """Beyond, the one that has waited longest for its client to send makes room for a new one."""
