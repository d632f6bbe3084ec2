# SPDX-License-Identifier: Apache-2.0
"""Where the time of a start went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Trace:
    """Milliseconds per named step. Steps may overlap; `total` is the wall clock from the first to `finish`."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._began = time.perf_counter()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.milliseconds[name] = round((time.perf_counter() - began) * 1000, 2)

    def finish(self) -> dict[str, float]:
        self.milliseconds["total"] = round((time.perf_counter() - self._began) * 1000, 2)
        return self.milliseconds
