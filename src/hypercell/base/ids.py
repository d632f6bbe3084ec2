# SPDX-License-Identifier: Apache-2.0
"""Identifiers: 64 lower-case hex digits, as docker's, so that every client's parsing and truncation works."""

from __future__ import annotations

import re
import secrets

from hypercell.base.digits import is_digits

_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def new_id() -> str:
    """A new random id. Never all digits in its first 12: clients would take the short form for a number."""
    while True:
        value = secrets.token_hex(32)
        if not is_digits(value[:12]):
            return value


def is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def is_name(value: str) -> bool:
    """True for what docker accepts as a container or volume name."""
    return len(value) <= 255 and _NAME.fullmatch(value) is not None


def short(value: str) -> str:
    return value.removeprefix("sha256:")[:12]
