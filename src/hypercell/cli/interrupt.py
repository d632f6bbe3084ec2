# SPDX-License-Identifier: Apache-2.0
"""ctrl-C before there is anything to tidy up. Imports as little as can be: it is what is loaded unprotected."""

from __future__ import annotations

import signal


class DeadlyInterrupts:
    """SIGINT ends the process within, as it ends programs that know no better; who has ignored it still does."""

    def __enter__(self) -> None:
        self._taken = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._taken:
            try:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            except ValueError:  # not the main thread: signals are somebody else's
                self._taken = False

    def __exit__(self, *_: object) -> None:
        if self._taken:
            signal.signal(signal.SIGINT, signal.default_int_handler)
