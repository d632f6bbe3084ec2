# SPDX-License-Identifier: Apache-2.0
"""Read ahead in a thread: uncompressing and hashing, which leave the interpreter's lock, beside the merge."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator

_AHEAD = 8
_POLL = 0.1


class Prefetch:
    """An iterator over `chunks`, which a thread runs up to 8 chunks ahead. What it raises is raised here.

    A context manager: leaving it ends the thread, whether or not the chunks were used up.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="layer-prefetch", daemon=True)

    def _put(self, item: bytes | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                if not self._put(chunk):
                    return
        except BaseException as error:
            self._put(error)
        else:
            self._put(None)

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def __enter__(self) -> Prefetch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
