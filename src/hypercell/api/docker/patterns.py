# SPDX-License-Identifier: Apache-2.0
r"""Regular expressions from clients (`docker ps --filter name=^web`), matched in time linear in the text.

dockerd uses Go's RE2; Python's `re` backtracks and can be kept busy for years by a pattern of twenty characters.
This is a Thompson simulation of RE2's everyday part: literals, `.`, `[…]`, `\d \w \s` and their opposites, `^ $`,
groups, `|`, `* + ?` and `{m,n}`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypercell.base.digits import is_digits

MAX_PATTERN = 256
_MAX_STATES = 4096
_MAX_REPEAT = 100
_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": lambda c: c in "0123456789",
    "w": lambda c: c.isascii() and (c.isalnum() or c == "_"),
    "s": lambda c: c in " \t\n\r\f",
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
Test = Callable[[str], bool]


@dataclass(eq=False, slots=True)
class _State:
    """Consumes a character that passes `test`, or (no test) nothing, where `anchor` permits."""

    test: Test | None = None
    anchor: str = ""
    next: list[_State] = field(default_factory=list)


@dataclass(slots=True)
class _Piece:
    start: _State
    end: _State


class Pattern:
    """Raises `ValueError` for what it does not understand."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise ValueError("the pattern is too long")
        parser = _Parser(text)
        self._machine = parser.parse()

    def search(self, text: str) -> bool:
        """True when it matches anywhere in *text*."""
        machine = self._machine
        current: set[_State] = set()
        for position in range(len(text) + 1):
            current = _closure([*current, machine.start], position == 0, position == len(text))
            if machine.end in current:
                return True
            if position < len(text):
                character = text[position]
                current = {n for s in current if s.test is not None and s.test(character) for n in s.next}
        return False


def _closure(states: list[_State], at_start: bool, at_end: bool) -> set[_State]:
    seen: set[_State] = set()
    stack = states
    while stack:
        state = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        open_here = not state.anchor or (at_start if state.anchor == "^" else at_end)
        if state.test is None and open_here:
            stack.extend(state.next)
    return seen


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._states = 0

    def parse(self) -> _Piece:
        piece = self._alternatives(0)
        if self._at < len(self._text):
            raise ValueError(f"unexpected {self._text[self._at]!r}")
        return piece

    def _new(self, test: Test | None = None, anchor: str = "") -> _State:
        self._states += 1
        if self._states > _MAX_STATES:
            raise ValueError("the pattern is too complex")
        return _State(test, anchor)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _alternatives(self, depth: int) -> _Piece:
        if depth > 20:
            raise ValueError("groups are nested too deep")
        start, end = self._new(), self._new()
        while True:
            branch = self._sequence(depth)
            start.next.append(branch.start)
            branch.end.next.append(end)
            if self._peek() != "|":
                return _Piece(start, end)
            self._at += 1

    def _sequence(self, depth: int) -> _Piece:
        start = end = self._new()
        while self._peek() not in ("", "|", ")"):
            begin = self._at
            piece = self._atom(depth)
            piece = self._repeated(piece, begin, depth)
            end.next.append(piece.start)
            end = piece.end
        return _Piece(start, end)

    def _repeated(self, piece: _Piece, begin: int, depth: int) -> _Piece:
        atom_end = self._at
        low, high = self._quantifier()
        if (low, high) == (1, 1):
            return piece
        start = end = self._new()
        copies: list[_Piece] = []
        resume = self._at
        for _ in range(max(low, high if high is not None else low + 1)):
            copies.append(piece if not copies else self._copy(begin, atom_end, depth))
        self._at = resume
        final = self._new()
        for index, copy in enumerate(copies):
            if index >= low:
                end.next.append(final)
            end.next.append(copy.start)
            end = copy.end
        end.next.append(final)
        if high is None:
            end.next.append(copies[-1].start)
        return _Piece(start, final)

    def _copy(self, begin: int, end: int, depth: int) -> _Piece:
        self._at = begin
        piece = self._atom(depth)
        assert self._at == end
        return piece

    def _quantifier(self) -> tuple[int, int | None]:
        sign = self._peek()
        if sign and sign in "*+?":
            self._at += 1
            if self._peek() == "?":  # lazy: the same for a test
                self._at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        if sign != "{":
            return 1, 1
        close = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : close].partition(",") if close > 0 else ("", "", "")
        if not is_digits(low) or (high and not is_digits(high)):
            raise ValueError("malformed repetition")
        self._at = close + 1
        least, most = int(low), int(high) if high else (None if comma else int(low))
        if least > _MAX_REPEAT or (most is not None and not least <= most <= _MAX_REPEAT):
            raise ValueError("invalid repetition count")
        return least, most

    def _atom(self, depth: int) -> _Piece:
        character = self._peek()
        self._at += 1
        if character == "(":
            if self._text.startswith("?:", self._at):
                self._at += 2
            piece = self._alternatives(depth + 1)
            if self._peek() != ")":
                raise ValueError("missing )")
            self._at += 1
            return piece
        if character and character in "^$":
            state = self._new(anchor=character)
            return _Piece(state, self._ended(state))
        if character and character in "*+?{":
            raise ValueError("nothing to repeat")
        state = self._new(self._test(character))
        return _Piece(state, self._ended(state))

    def _ended(self, state: _State) -> _State:
        end = self._new()
        state.next.append(end)
        return end

    def _test(self, character: str) -> Test:
        if character == ".":
            return lambda c: c != "\n"
        if character == "[":
            return self._set()
        if character == "\\":
            return self._escaped()
        return lambda c: c == character

    def _escaped(self) -> Test:
        character = self._peek()
        self._at += 1
        if character.lower() in _CLASSES:
            inner = _CLASSES[character.lower()]
            return inner if character.islower() else (lambda c: not inner(c))
        if character in _ESCAPES:
            wanted = _ESCAPES[character]
            return lambda c: c == wanted
        if not character or character.isalnum():
            raise ValueError("unknown escape")
        return lambda c: c == character

    def _set(self) -> Test:
        tests: list[Test] = []
        negated = self._peek() == "^"
        self._at += negated
        first = True
        while first or self._peek() != "]":
            tests.append(self._member())
            first = False
        self._at += 1
        return lambda c: any(test(c) for test in tests) != negated

    def _member(self) -> Test:
        low = self._peek()
        self._at += 1
        if not low:
            raise ValueError("missing ]")
        if low == "\\":
            return self._escaped()
        high = self._text[self._at + 1 : self._at + 2]
        if self._peek() == "-" and high not in ("", "]"):
            self._at += 2
            if high == "\\" or high < low:
                raise ValueError("invalid range")
            return lambda c: low <= c <= high
        return lambda c: c == low
