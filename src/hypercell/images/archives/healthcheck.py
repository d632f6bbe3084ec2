# SPDX-License-Identifier: Apache-2.0
"""The instruction `HEALTHCHECK [OPTIONS] CMD command`, or `HEALTHCHECK NONE` (Dockerfile reference)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hypercell.base.digits import is_digits
from hypercell.base.durations import parse_duration
from hypercell.base.errors import InvalidArgument

_OPTION = re.compile(r"--([a-z-]+)=(\S+)\s+")
_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
_MINIMUM = 1_000_000


def health_check(text: str, exec_form: Callable[[str], list[str] | None]) -> dict[str, Any]:
    """`Healthcheck` of an image config. *exec_form* reads a JSON list of words. Raises `InvalidArgument`."""
    options: dict[str, Any] = {}
    while match := _OPTION.match(text):
        name, value = match[1], match[2]
        if name in _TIMES:
            options[_TIMES[name]] = _duration(name, value)
        elif name == "retries":
            options["Retries"] = _retries(value)
        else:
            raise InvalidArgument(f"unknown flag: --{name[:50]}", f"--{', --'.join(_TIMES)} and --retries are known")
        text = text[match.end() :]
    kind, rest = (*text.split(None, 1), "", "")[:2]
    if kind.upper() == "NONE":
        if rest or options:
            raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
        return {"Test": ["NONE"]}
    if kind.upper() != "CMD":
        raise InvalidArgument(f"Unknown type {kind[:50]!r} in HEALTHCHECK (try CMD)")
    words = exec_form(rest)
    if not rest or words == []:
        raise InvalidArgument("Missing command after HEALTHCHECK CMD")
    test = ["CMD-SHELL", rest] if words is None else ["CMD", *words]
    return {"Test": test, **{name: value for name, value in options.items() if value}}


def _duration(name: str, text: str) -> int:
    try:
        duration = parse_duration(text)
    except ValueError:
        raise InvalidArgument(f"--{name}: {text[:50]!r} is no duration", "write it as 30s, 1m30s or 500ms") from None
    if duration and duration < _MINIMUM:
        raise InvalidArgument(f"--{name}: {text[:50]!r} is less than 1ms")
    return duration


def _retries(text: str) -> int:
    if not is_digits(text, 9):
        raise InvalidArgument(f"--retries: {text[:50]!r} is no number, or negative")
    return int(text)
