# SPDX-License-Identifier: Apache-2.0
"""Shell patterns in the substitutions of a Dockerfile: `*` and `?`, and a backslash before what is meant as it is.

Matched by following all possibilities at once, so that no pattern takes longer than its length times the text's.
"""

from __future__ import annotations

from hypercell.base.errors import InvalidArgument

_MOST_WORK = 4_000_000
"""Of one pattern, as far as can be told before."""
_Token = tuple[str, str]
"""("any", ""), ("one", "") or ("is", character)."""


class Work:
    """What all patterns of one build, or one commit, may take: steps of their matching. A line of a few words could
    otherwise keep a daemon for as long as it likes."""

    def __init__(self, steps: int = 2_000_000) -> None:
        self._left = steps

    def take(self, steps: int) -> None:
        """Raises `InvalidArgument`."""
        self._left -= steps
        if self._left < 0:
            raise InvalidArgument("the patterns in substitutions take too long", "shorten them, or their values")


def without_prefix(text: str, pattern: str, longest: bool, work: Work) -> str:
    tokens = _tokens(pattern)
    _check(text, tokens, len(text))
    ends = _ends(text, 0, tokens, work)
    return text[(max(ends) if longest else min(ends)) :] if ends else text


def without_suffix(text: str, pattern: str, longest: bool, work: Work) -> str:
    tokens = _tokens(pattern)[::-1]
    _check(text, tokens, len(text))
    ends = _ends(text[::-1], 0, tokens, work)
    return text[: len(text) - (max(ends) if longest else min(ends))] if ends else text


def replaced(text: str, pattern: str, by: str, everywhere: bool, work: Work) -> str:
    """The longest match at the first place that has one, or at every such place."""
    tokens = _tokens(pattern)
    _check(text, tokens, len(text) * (len(text) + 1))
    found: list[str] = []
    at = 0
    while at < len(text):
        end = max(_ends(text, at, tokens, work), default=at)
        if end == at:  # a match of nothing is none
            found.append(text[at])
            at += 1
            continue
        found.append(by)
        at = end
        if not everywhere:
            break
    return "".join(found) + text[at:]


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            at += 1
            tokens.append(("is", pattern[at]))
        elif char == "*":
            if tokens[-1:] != [("any", "")]:
                tokens.append(("any", ""))
        else:
            tokens.append(("one", "") if char == "?" else ("is", char))
        at += 1
    return tokens


def _check(text: str, tokens: list[_Token], steps: int) -> None:
    if steps * (len(tokens) + 1) > _MOST_WORK:
        raise InvalidArgument("a pattern in a substitution is too long for its value", "shorten one of them")


def _ends(text: str, start: int, tokens: list[_Token], work: Work) -> list[int]:
    """Where the matches that begin at *start* end."""
    states = _closed({0}, tokens)
    ends = [start] if len(tokens) in states else []
    for at in range(start, len(text)):
        work.take(1 + len(states))
        following: set[int] = set()
        for state in states:
            if state == len(tokens):
                continue
            kind, char = tokens[state]
            if kind == "any":
                following.add(state)
            elif kind == "one" or char == text[at]:
                following.add(state + 1)
        states = _closed(following, tokens)
        if not states:
            break
        if len(tokens) in states:
            ends.append(at + 1)
    return ends


def _closed(states: set[int], tokens: list[_Token]) -> set[int]:
    """With those that are reached without a character: a `*` may be nothing."""
    found = set(states)
    for state in states:
        while state < len(tokens) and tokens[state][0] == "any":
            state += 1
            found.add(state)
    return found
