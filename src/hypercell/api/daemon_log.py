# SPDX-License-Identifier: Apache-2.0
"""The daemon's log: one line per record on standard error, `time level logger message`, nothing in it that a terminal
or a log shipper would take for anything but text."""

from __future__ import annotations

import json
import logging
import os
import sys
import time

_PRIORITIES = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}
"""syslog's, which journald reads from a line's start."""


class LineFormatter(logging.Formatter):
    def __init__(self, priorities: bool = False) -> None:
        super().__init__()
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        name = record.name.removeprefix("hypercell.")
        if self._priorities:  # journald keeps the time itself
            return f"<{_PRIORITIES.get(record.levelname, 6)}>{name} {escape(text)}"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        milliseconds = int(record.msecs)
        return f"{stamp}.{milliseconds:03}Z {record.levelname.lower():7} {name} {escape(text)}"


def escape(text: str) -> str:
    """*text* on one line: control characters and what is not printable as in JSON."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def configure(level: str) -> None:
    """Log *level* (`debug`, `info`, `warning`, `error`) and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(priorities="JOURNAL_STREAM" in os.environ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # A library's chatter is not the daemon's; asyncio's debug lines tell of every selector.
    for noisy in ("asyncio", "httpx2", "httpcore2", "pyroute2"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
