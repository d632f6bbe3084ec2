# SPDX-License-Identifier: Apache-2.0
"""From method and path to a route.

A placeholder `{name}` matches one or more characters, slashes included (image names have them); literal routes
win over those with placeholders, and among these the one declared first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hypercell.api.http.messages import Handler, Version

A = TypeVar("A")
UNLIMITED = -1
_PREFIX = re.compile(r"/v([0-9]{1,5}(?:\.[0-9]{1,5}){0,2})(/.*)", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Route(Generic[A]):
    method: str
    pattern: str
    handler: Handler[A]
    max_body: int = 64 * 1024
    """Bytes of request body accepted; `UNLIMITED` for bodies that are streamed to where they are bounded."""
    until_gone: bool = False
    """Cancel the handler when the client closes the connection: for what only serves that client."""


class Router(Generic[A]):
    def __init__(self, routes: Iterable[Route[A]]) -> None:
        self._literal: dict[tuple[str, str], Route[A]] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Route[A]]]] = {}
        for route in routes:
            if "{" not in route.pattern:
                self._literal.setdefault((route.method, route.pattern), route)
                continue
            pieces = _PLACEHOLDER.split(route.pattern)
            pattern = "".join(f"(?P<{p}>.+)" if index % 2 else re.escape(p) for index, p in enumerate(pieces))
            key = (route.method, route.pattern.split("/", 2)[1])
            self._patterns.setdefault(key, []).append((re.compile(pattern, re.DOTALL), route))

    def find(self, method: str, path: str) -> tuple[Route[A], dict[str, str]] | None:
        """The route and its placeholders' values, or None."""
        literal = self._literal.get((method, path))
        if literal is not None:
            return literal, {}
        room = path.split("/", 2)[1] if path.startswith("/") else ""
        for pattern, route in self._patterns.get((method, room), ()):
            match = pattern.fullmatch(path)
            if match is not None:
                return route, match.groupdict()
        return None


def split_version(path: str) -> tuple[Version, str]:
    """`/v1.41/info` -> `((1, 41), "/info")`; without a prefix the version is empty."""
    match = _PREFIX.fullmatch(path)
    if match is None:
        return (), path
    return tuple(int(number) for number in match[1].split(".")), match[2]
