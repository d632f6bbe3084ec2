# SPDX-License-Identifier: Apache-2.0
"""Peers take turns, each on a machine as quiet as it gets: what one leaves to do is not charged to the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

_PATIENCE = 1.0
_WINDOW = 0.05


class Named(Protocol):
    @property
    def name(self) -> str: ...

    def prepare(self) -> None:
        """Whatever must be there before a sample is taken."""


P = TypeVar("P", bound=Named)
T = TypeVar("T")


def alternate(peers: Sequence[P], rounds: int, sample: Callable[[P], T]) -> dict[str, list[T]]:
    """{peer: its samples}, one of each peer in every round. The first round warms up and is dropped."""
    taken: dict[str, list[T]] = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        for peer in peers:
            peer.prepare()
            settle()
            one = sample(peer)
            if number:
                taken[peer.name].append(one)
    return taken


def settle() -> None:
    """Wait until four fifths of the machine are idle; on one that never is, for a second."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        idle, total = _processor_time()
        time.sleep(_WINDOW)
        idle_after, total_after = _processor_time()
        if idle_after - idle >= 0.8 * (total_after - total):
            return


def _processor_time() -> tuple[int, int]:
    """(idle, all) in clock ticks."""
    words = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return words[3] + words[4], sum(words)


def at_once(count: int, work: Callable[[int], object], limit: int = 0) -> float:
    """Seconds until *work* was done for 0 … count - 1, by as many threads (at most *limit*) that set out together.

    Raises what any of them raised.
    """
    threads = min(count, limit or count)
    numbers = iter(range(count))
    lock, barrier = threading.Lock(), threading.Barrier(threads + 1)
    failures: list[BaseException] = []

    def run() -> None:
        barrier.wait()
        while not failures:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                work(number)
            except Exception as error:
                failures.append(error)

    pool = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for thread in pool:
        thread.start()
    try:
        barrier.wait()
        began = time.perf_counter()
        for thread in pool:
            thread.join()
    except BaseException as error:
        failures.append(error)  # nobody begins anything after an interruption
        raise
    if failures:
        raise failures[0]
    return time.perf_counter() - began
