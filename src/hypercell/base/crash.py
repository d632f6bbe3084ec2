# SPDX-License-Identifier: Apache-2.0
"""Named places at which a test may end the daemon, to see that its successor finishes or undoes what was begun."""

from __future__ import annotations

from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def crash_point(name: str) -> None:
    """Stands directly before and after every step that cannot be taken back. Free of cost in a running daemon."""
    if _hook is not None:
        _hook(name)


def set_hook(hook: Callable[[str], None] | None) -> None:
    global _hook
    _hook = hook
