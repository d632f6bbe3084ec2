# SPDX-License-Identifier: Apache-2.0
"""Times as Go programs read and write them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone

from hypercell.base.durations import SECOND, parse_duration
from hypercell.base.errors import InvalidArgument

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time: what docker says for "never"."""

_UNIX = re.compile(r"(-?\d{1,12})(?:\.(\d{1,18}))?", re.ASCII)
_STAMP = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?"
    r"(Z|z|[+-]\d{2}:\d{2})?",
    re.ASCII,
)


def parse_timestamp(text: str, field: str, now_ns: int | None = None) -> int:
    """Nanoseconds since 1970 of a Unix time (`1136073600.5`), a date or time of RFC 3339 (in the daemon's own zone if
    it names none), or a duration before now. Raises `InvalidArgument` naming *field*."""
    if match := _UNIX.fullmatch(text):
        seconds, fraction = int(match[1]), (match[2] or "")[:9]
        return seconds * SECOND + int(fraction.ljust(9, "0"))
    if match := _STAMP.fullmatch(text):
        year, month, day, hour, minute, second = (int(match[group] or 0) for group in range(1, 7))
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=_zone(match[8]))
            whole = int(moment.timestamp())
        except (ValueError, OverflowError) as error:
            raise InvalidArgument(f"{field}: invalid time {text!r}: {error}") from None
        return whole * SECOND + int((match[7] or "").ljust(9, "0"))
    try:
        return (time.time_ns() if now_ns is None else now_ns) - parse_duration(text)
    except ValueError:
        raise InvalidArgument(f"{field}: failed to parse value as time or duration: {text[:100]!r}") from None


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return datetime.now().astimezone().tzinfo  # type: ignore[return-value]
    if text in ("Z", "z"):
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))


def rfc3339(time_ns: int) -> str:
    """As Go's RFC3339Nano: UTC, trailing zeros of the fraction left out; 0 is Go's zero time."""
    if not time_ns:
        return ZERO_TIME
    seconds, fraction = divmod(time_ns, SECOND)
    text = f".{fraction:09}".rstrip("0").rstrip(".")
    return f"{_seconds(seconds)}{text}Z"


def rfc3339_fixed(time_ns: int) -> str:
    """With nine digits always: the time stamps of log lines."""
    seconds, fraction = divmod(time_ns, SECOND)
    return f"{_seconds(seconds)}.{fraction:09}Z"


def _seconds(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):  # a time that no calendar has
        return "0001-01-01T00:00:00"


def human_duration(elapsed_ns: int) -> str:
    """docker's words for how long: `Less than a second`, `2 minutes`, `About an hour` …"""
    seconds = max(elapsed_ns, 0) // SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours == 1:
        return "About an hour"
    for limit, unit, name in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{seconds // 3600 // 24 // 365} years"
