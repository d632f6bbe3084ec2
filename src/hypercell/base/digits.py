# SPDX-License-Identifier: Apache-2.0
"""Numbers in other people's texts.

`str.isdigit`, `str.isdecimal`, `\\d` and `int` all take the digits of every script, and `int` signs, spaces and
underscores too: `int("١_0") == 10`. What one program reads as a number and the next as a name is how rules are passed.
"""

from __future__ import annotations

_LONGEST = 18
"""Fits into 64 bits; `int` of thousands of digits is slow, then an error."""


def is_digits(text: str, longest: int = _LONGEST) -> bool:
    """Whether *text* is one to *longest* of the ten digits of ASCII and nothing else: `int` may have it."""
    return 0 < len(text) <= longest and text.isascii() and text.isdecimal()
