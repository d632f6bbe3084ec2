# SPDX-License-Identifier: Apache-2.0
"""docker's multiplexing of standard output and error on one stream (stdcopy), and its media types.

Each frame: one byte for the stream (1 stdout, 2 stderr, 3 the daemon's own errors), three zero bytes, the length as
a big-endian 32-bit number, then the bytes. Used unless the process has a terminal.
"""

from __future__ import annotations

import struct

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
SYSTEM_ERROR = 3
_HEADER = struct.Struct(">BxxxI")


def frame(stream: int, data: bytes) -> bytes:
    return _HEADER.pack(stream, len(data)) + data


def media_type(tty: bool, version: tuple[int, ...], upgraded: bool = True) -> str:
    """What a stream is called: clients of API 1.42 are told when it is multiplexed."""
    return MULTIPLEXED if not tty and upgraded and version >= (1, 42) else RAW
