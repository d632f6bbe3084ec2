# SPDX-License-Identifier: Apache-2.0
"""Tell systemd how the daemon is (sd_notify(3)): a datagram to the socket named in the environment."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(*words: str) -> None:
    """`READY=1`, `STOPPING=1`, `STATUS=…`. Nothing happens when nobody asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.connect("\0" + address[1:] if address.startswith("@") else address)
        out.sendall("\n".join(words).encode())
