# SPDX-License-Identifier: Apache-2.0
"""Detach keys: the sequence (ctrl-p ctrl-q unless told otherwise) by which a terminal lets go of a container."""

from __future__ import annotations

from hypercell.base.errors import InvalidArgument

DEFAULT_KEYS = b"\x10\x11"
_MAX_KEYS = 32
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or `ctrl-a,x` as bytes; empty text: the default. Raises `InvalidArgument`."""
    if not text:
        return DEFAULT_KEYS
    keys = text.split(",")
    codes = bytes(_code(key.strip() if len(key) > 1 else key, text) for key in keys)
    if len(codes) > _MAX_KEYS:
        raise InvalidArgument(f"Invalid detach keys ({text[:100]}) provided")
    return codes


def _code(key: str, text: str) -> int:
    if key.lower() == "del":
        return 127
    if key.lower().startswith("ctrl-") and len(key) == 6:
        last = key[5].lower()
        if "a" <= last <= "z":
            return ord(last) - ord("a") + 1
        if last in _SPECIAL:
            return _SPECIAL[last]
    elif len(key) == 1 and key.isascii():
        return ord(key)
    raise InvalidArgument(f"Invalid detach keys ({text[:100]}) provided", "ctrl-<letter>, or one character")


class KeyFilter:
    """Passes input on and notices the sequence, however it is cut into pieces."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        """What of *data* (and of a start of the sequence held back before) is input; `detached` tells the end."""
        out = bytearray()
        for byte in data:
            if self.detached:
                break
            while self._matched and byte != self._keys[self._matched]:
                # Not the sequence after all. Its longest tail that could begin it again stays held back.
                held = self._keys[: self._matched]
                keep = next(n for n in range(self._matched - 1, -1, -1) if held.endswith(self._keys[:n]))
                out += held[: self._matched - keep]
                self._matched = keep
            if byte == self._keys[self._matched]:
                self._matched += 1
                self.detached = self._matched == len(self._keys)
            else:
                out.append(byte)
        return bytes(out)
