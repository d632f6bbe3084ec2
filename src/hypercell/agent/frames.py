# SPDX-License-Identifier: Apache-2.0
"""Frames of the agent protocol (docs/agent-protocol.md, "Frames"): writing them, and reading them from a hostile peer.

A frame in memory is a plain tuple, not an object: every logged byte passes here.
"""

from __future__ import annotations

import struct
from typing import Final

SYNC: Final = bytes.fromhex("9b485950455243454c4c1a0a00ff01d6")
"""Marks a greeting. Read as a header it breaks the limit on `length`, so it is never mistaken for a frame."""

HEADER: Final = struct.Struct("<IBBHIQ")
MAX_PAYLOAD: Final = 1 << 20
MAX_DATA: Final = 1 << 16
FLUSH: Final = MAX_PAYLOAD + HEADER.size
"""As many zero bytes as fill any half-read frame."""

HELLO: Final = 1
WELCOME: Final = 2
REQUEST: Final = 3
REPLY: Final = 4
ERROR: Final = 5
EVENT: Final = 6
DATA: Final = 7
WINDOW: Final = 8
GREETING: Final = 0
"""Not on the wire: what the parser reports for a SYNC marker where a frame should begin."""

EOF: Final = 1

FROM_GUEST: Final = frozenset({WELCOME, REPLY, ERROR, EVENT, DATA, WINDOW})
FROM_HOST: Final = frozenset({HELLO, REQUEST, DATA, WINDOW})

_NUMBERED: Final = frozenset({REQUEST, REPLY, DATA, WINDOW})
_UNNUMBERED: Final = frozenset({HELLO, WELCOME, EVENT})
_ACKNOWLEDGED: Final = struct.Struct("<Q")

Frame = tuple[int, int, int, int, bytes]
"""(type, flags, id, offset, payload)"""


class ProtocolError(Exception):
    """The peer broke a rule of the protocol; the text says which."""


def encode(kind: int, ident: int = 0, payload: bytes = b"", flags: int = 0, offset: int = 0) -> bytes:
    """One frame as bytes. The caller keeps the limits."""
    return HEADER.pack(len(payload), kind, flags, 0, ident, offset) + payload


def encode_window(stream: int, acknowledged: int, limit: int) -> bytes:
    return HEADER.pack(8, WINDOW, 0, 0, stream, limit) + _ACKNOWLEDGED.pack(acknowledged)


def acknowledged_of(payload: bytes) -> int:
    """The payload of a WINDOW frame that the parser let through."""
    return int.from_bytes(payload, "little")


def broken_rule(accepts: frozenset[int], header: tuple[int, int, int, int, int, int]) -> str | None:
    """Which rule this header breaks, or None."""
    length, kind, flags, zero, ident, offset = header
    if kind not in accepts:
        return f"unexpected frame type {kind}"
    if zero:
        return f"the zero field holds {zero}"
    if length > (MAX_DATA if kind == DATA else MAX_PAYLOAD):
        return f"a frame of {length} bytes is over the limit"
    if flags > EOF or (flags and kind != DATA):
        return f"unknown flags {flags:#x}"
    if kind in _NUMBERED and not ident:
        return "an id of 0"
    if kind in _UNNUMBERED and ident:
        return f"an id ({ident}) where there is none"
    if kind == WINDOW:
        return None if length == _ACKNOWLEDGED.size else f"a WINDOW of {length} bytes"
    if kind != DATA and offset:
        return f"an offset ({offset}) where there is none"
    return None


class FrameParser:
    """Cuts a byte stream into frames, however it is chunked. Holds at most one incomplete frame.

    With `recover` a broken header makes it drop bytes until the next SYNC (the guest's way); without, it raises
    `ProtocolError` (the host's way).
    """

    def __init__(self, accepts: frozenset[int], recover: bool = False) -> None:
        self._accepts = accepts
        self._recover = recover
        self.reset()

    def reset(self) -> None:
        """Forget a half-read frame: the connection was lost."""
        self._partial = bytearray()
        self._need = HEADER.size
        self._lost = False

    @property
    def held(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that *data* completes, in order. A SYNC between frames is `(GREETING, 0, 0, 0, b"")`."""
        if self._partial:
            if len(self._partial) + len(data) < self._need:
                self._partial += data
                return []
            data = bytes(self._partial) + data
        frames: list[Frame] = []
        position = self._find_sync(data, 0, frames) if self._lost else 0
        size = len(data)
        self._need = HEADER.size
        unpack = HEADER.unpack_from
        while size - position >= 20:
            length, kind, flags, zero, ident, offset = header = unpack(data, position)
            # The common case in one expression; everything else is looked at in full.
            if (
                not (kind == DATA and length <= MAX_DATA and flags <= EOF and ident and not zero)
                or DATA not in self._accepts
            ):
                problem = broken_rule(self._accepts, header)
                if problem is not None:
                    if data.startswith(SYNC, position):
                        frames.append((GREETING, 0, 0, 0, b""))
                        position += len(SYNC)
                    elif self._recover:
                        position = self._find_sync(data, position, frames)
                    else:
                        raise ProtocolError(problem)
                    continue
            end = position + 20 + length
            if end > size:
                self._need = 20 + length
                break
            frames.append((kind, flags, ident, offset, data[position + 20 : end]))
            position = end
        self._partial = bytearray(data[position:])
        return frames

    def _find_sync(self, data: bytes, position: int, frames: list[Frame]) -> int:
        """Where reading goes on: behind the next SYNC, or at the end of *data* less what may be its beginning."""
        found = data.find(SYNC, position)
        self._lost = found < 0
        if self._lost:
            return max(position, len(data) - len(SYNC) + 1)
        frames.append((GREETING, 0, 0, 0, b""))
        return found + len(SYNC)
