# SPDX-License-Identifier: Apache-2.0
"""When the request that is being carried out arrived: known to whatever works for it, without being handed down."""

from __future__ import annotations

from contextvars import ContextVar

ARRIVED: ContextVar[float] = ContextVar("ARRIVED", default=0.0)
"""`time.perf_counter()` when its head was complete; 0 where there is no request. Work that outlives its request must
not look at it."""
