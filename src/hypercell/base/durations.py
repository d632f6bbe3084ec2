# SPDX-License-Identifier: Apache-2.0
"""Durations as Go programs write them: `1h30m`, `500ms`, `-1.5s`; here in nanoseconds."""

from __future__ import annotations

import re

SECOND = 1_000_000_000

_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_TERM = re.compile(r"(\d{0,18})(?:\.(\d{0,18}))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def parse_duration(text: str) -> int:
    """Raises `ValueError`."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total, position = 0, 0
    while position < len(rest):
        match = _TERM.match(rest, position)
        if match is None or not (match[1] or match[2]):
            raise ValueError(f"invalid duration {text!r}")
        unit = _UNITS[match[3]]
        fraction = match[2] or ""
        total += int(match[1] or 0) * unit
        total += int(fraction or 0) * unit // 10 ** len(fraction)
        position = match.end()
    if not position or total >= 1 << 63:
        raise ValueError(f"invalid duration {text!r}")
    return sign * total


def show_duration(duration: int) -> str:
    """As Go prints one that is not negative: `1m30s`, `1.5s`, `20ms`."""
    if duration < SECOND:
        unit = next((unit for unit in ("ms", "µs") if duration >= _UNITS[unit]), "ns")
        return f"{_decimal(duration, _UNITS[unit])}{unit}" if duration else "0s"
    minutes, rest = divmod(duration, 60 * SECOND)
    seconds = f"{_decimal(rest, SECOND)}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{fraction:0{digits}}".rstrip("0").rstrip(".") if fraction else str(whole)
