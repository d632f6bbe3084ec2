# SPDX-License-Identifier: Apache-2.0
"""Patterns of paths: Go's `filepath.Match`, and `.dockerignore` with its `**` and `!`.

Patterns and paths are strangers'. A path is matched component by component, and a component by the last `*` alone, so
that nothing takes longer than the lengths multiplied.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from hypercell.base.errors import InvalidArgument

MAX_PATTERNS = 10_000
_CLASS = re.compile(r"(\^?(?:\\.|[^\]\\])+)\]", re.DOTALL)
_META = frozenset("*?[\\")
_Token = tuple[str, str]
"""("any", ""), ("one", ""), ("is", character) or ("of", a class as it stands between its brackets)."""


def has_meta(pattern: str) -> bool:
    return not _META.isdisjoint(pattern)


def matches(pattern: str, path: str) -> bool:
    """As many components, each matching. Raises `InvalidArgument`."""
    wanted, found = pattern.split("/"), path.split("/")
    return len(wanted) == len(found) and all(map(match_name, wanted, found))


def match_name(pattern: str, name: str) -> bool:
    """One component. Raises `InvalidArgument`."""
    tokens = _tokens(pattern)
    at = state = 0
    star, resume = -1, 0
    while at < len(name):
        if state < len(tokens) and tokens[state][0] == "any":
            star, resume = state, at
            state += 1
        elif state < len(tokens) and _is(tokens[state], name[at]):
            at += 1
            state += 1
        elif star >= 0:
            resume += 1
            at, state = resume, star + 1
        else:
            return False
    return all(kind == "any" for kind, _ in tokens[state:])


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            tokens.append(("any", ""))
        elif char == "?":
            tokens.append(("one", ""))
        elif char == "[":
            match = _CLASS.match(pattern, at)
            if match is None:
                raise InvalidArgument(f"syntax error in pattern {pattern[:100]!r}")
            tokens.append(("of", match[1]))
            at = match.end()
        elif char == "\\":
            if at == len(pattern):
                raise InvalidArgument(f"syntax error in pattern {pattern[:100]!r}")
            tokens.append(("is", pattern[at]))
            at += 1
        else:
            tokens.append(("is", char))
    return tokens


def _is(token: _Token, char: str) -> bool:
    kind, text = token
    if kind != "of":
        return kind == "one" or text == char
    negated = text.startswith("^")
    return _in_class(text[negated:], char) != negated


def _in_class(text: str, char: str) -> bool:
    at = 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        low = high = text[at]
        at += 1
        if text.startswith("-", at) and at + 1 < len(text):
            at += 2 if text[at + 1] == "\\" and at + 2 < len(text) else 1
            high = text[at]
            at += 1
        if low <= char <= high:
            return True
    return False


class IgnoreRules:
    """A `.dockerignore`: the last pattern that matches a path, or a directory above it, decides."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[bool, list[str]]] = []
        for number, line in enumerate(lines):
            text = line.strip("\ufeff" if not number else "").strip()
            if not text or text.startswith("#"):
                continue
            kept = text.startswith("!")
            pattern = posixpath.normpath("/" + text[kept:].strip()).strip("/")
            if kept and not text[1:].strip():
                raise InvalidArgument('illegal exclusion pattern: "!"')
            if pattern:
                self._rules.append((kept, _components(pattern)))
            if len(self._rules) > MAX_PATTERNS:
                raise InvalidArgument(f".dockerignore has more than {MAX_PATTERNS} patterns")

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def has_exceptions(self) -> bool:
        return any(kept for kept, _ in self._rules)

    def excludes(self, path: str) -> bool:
        """*path* is clean and relative."""
        parts = path.split("/")
        excluded = False
        for kept, components in self._rules:
            if excluded == kept and _covers(components, parts):
                excluded = not kept
        return excluded


def _components(pattern: str) -> list[str]:
    found: list[str] = []
    for component in pattern.split("/"):
        if "**" in component and component != "**":
            # Stars that reach over slashes: as deep as they like, then as far as the component goes.
            found += ["**", component.replace("**", "*")]
        elif component != "**" or found[-1:] != ["**"]:
            found.append(component)
    return found


def _covers(components: list[str], parts: list[str]) -> bool:
    """Whether the pattern matches the path or one of its parents."""
    states = {0}
    for part in parts:
        following: set[int] = set()
        for state in _through(states, components):
            if state == len(components):
                return True
            if components[state] == "**":
                following.add(state)
                if state == len(components) - 1:
                    following.add(state + 1)
            elif match_name(components[state], part):
                following.add(state + 1)
        states = following
    return len(components) in _through(states, components)


def _through(states: set[int], components: list[str]) -> set[int]:
    """With what is reached by a `**` that stands for nothing. At the end it must stand for something."""
    found = set(states)
    for state in states:
        while state < len(components) - 1 and components[state] == "**":
            state += 1
            found.add(state)
    return found
