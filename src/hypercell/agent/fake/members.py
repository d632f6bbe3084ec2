# SPDX-License-Identifier: Apache-2.0
"""Members of a request, checked as the agent checks them."""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


class GuestError(Exception):
    """Becomes an ERROR frame."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def name_of(members: dict[str, Any], key: str) -> str:
    value = members.get(key)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise GuestError("invalid", f"{key}: not a name")
    return value


def number_of(members: dict[str, Any], key: str) -> int:
    value = members.get(key, 0)
    if type(value) is not int or value < 0:
        raise GuestError("invalid", f"{key}: not a number")
    return value


def object_of(members: dict[str, Any], key: str) -> dict[str, Any]:
    value = members.get(key)
    if not isinstance(value, dict):
        raise GuestError("invalid", f"{key}: not an object")
    return value


def path_of(members: dict[str, Any]) -> str:
    value = members.get("path")
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise GuestError("invalid", "path: not absolute")
    return value
