# SPDX-License-Identifier: Apache-2.0
"""Words as Dockerfile instructions have them: split at blanks outside quotes, then unquoted and expanded.

`$NAME`, `${NAME}`, and in braces the shell's `:-` `:+` `:?` (without the colon too), `#` `##` `%` `%%`, `/` and `//`.
Everything is bounded: a few lines could otherwise double a value as often as they like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hypercell.base.errors import InvalidArgument
from hypercell.images.archives import globs

MAX_VALUE = 1 << 20
"""Characters of a word when it is expanded."""
_MAX_DEPTH = 50
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#]")


def split(text: str, escape: str = "\\") -> list[str]:
    """The words of *text*, quotes and escapes still in them."""
    words: list[str] = []
    word: list[str] = []
    quote, position = "", 0
    while position < len(text):
        char = text[position]
        if char == escape and quote != "'" and position + 1 < len(text):
            word.append(text[position : position + 2])
            position += 2
            continue
        position += 1
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            if word:
                words.append("".join(word))
            word = []
            continue
        word.append(char)
    if quote:
        raise InvalidArgument(f"unexpected end of statement while looking for matching {quote}")
    return [*words, "".join(word)] if word else words


def expand(word: str, environment: Mapping[str, str], escape: str = "\\", work: globs.Work | None = None) -> str:
    """*word* without its quotes and escapes, and with variables replaced outside single quotes. *work*: what is left
    for its patterns."""
    reader = _Reader(word, environment, escape, work or globs.Work())
    return reader.read()


class _Reader:
    def __init__(self, text: str, environment: Mapping[str, str], escape: str, work: globs.Work) -> None:
        self._text = text
        self._environment = environment
        self._escape = escape
        self._work = work
        self._at = 0
        self._depth = 0
        self._in_pattern = False
        """What is escaped must stay so, for whoever matches."""

    def read(self, stops: str = "") -> str:
        """Up to one of *stops*, which stays; to the end if there are none."""
        found: list[str] = []
        length = 0
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in stops:
                return "".join(found)
            self._at += 1
            piece = self._piece(char)
            length += len(piece)
            if length > MAX_VALUE:
                raise InvalidArgument(f"a word becomes longer than {MAX_VALUE} characters", "look at its variables")
            found.append(piece)
        if stops:
            raise InvalidArgument(f"unexpected end of statement while looking for matching {stops[-1]}")
        return "".join(found)

    def _piece(self, char: str) -> str:
        if char == "'":
            return self._single()
        if char == '"':
            return self._double()
        if char == "$":
            return self._variable()
        if char == self._escape:
            self._at += 1
            escaped = self._text[self._at - 1 : self._at]
            return f"\\{escaped}" if self._in_pattern else escaped
        return char

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise InvalidArgument("unexpected end of statement while looking for matching single-quote")
        start, self._at = self._at, end + 1
        return self._text[start:end]

    def _double(self) -> str:
        found: list[str] = []
        length = 0
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                return "".join(found)
            if char == "$":
                char = self._variable()
            elif char == self._escape and self._at < len(self._text):
                # An escape only guards what would mean something here.
                following = self._text[self._at]
                if following in ('"', "$", self._escape):
                    char = following
                    self._at += 1
            length += len(char)
            if length > MAX_VALUE:
                raise InvalidArgument(f"a word becomes longer than {MAX_VALUE} characters", "look at its variables")
            found.append(char)
        raise InvalidArgument("unexpected end of statement while looking for matching double-quote")

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _variable(self) -> str:
        if not self._text.startswith("{", self._at):
            name = self._name()
            return self._environment.get(name, "") if name else "$"
        start = self._at - 1
        self._at += 1
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidArgument("variables are nested too deeply")
        name = self._name()
        if not name:
            raise InvalidArgument(f"bad substitution: {self._text[start:][:100]!r}")
        value = self._modified(name, start)
        if not self._text.startswith("}", self._at):
            raise InvalidArgument("syntax error: missing '}'")
        self._at += 1
        self._depth -= 1
        return value

    def _modified(self, name: str, start: int) -> str:
        """Behind the name, up to the closing brace."""
        value = self._environment.get(name)
        modifier = self._text[self._at : self._at + 1]
        if modifier == "}":
            return value or ""
        self._at += 1
        colon = modifier == ":"
        if colon:
            modifier = self._text[self._at : self._at + 1]
            self._at += 1
        if modifier in ("-", "+", "?") and modifier:
            return self._chosen(name, value, bool(value) if colon else value is not None, modifier)
        if modifier in ("#", "%", "/") and modifier and not colon:
            twice = self._text.startswith(modifier, self._at)
            self._at += twice
            pattern = self._pattern("/}" if modifier == "/" else "}")
            if modifier == "#":
                return globs.without_prefix(value or "", pattern, twice, self._work)
            if modifier == "%":
                return globs.without_suffix(value or "", pattern, twice, self._work)
            self._at += self._text.startswith("/", self._at)
            return globs.replaced(value or "", pattern, self.read("}"), twice, self._work)
        if not modifier:
            raise InvalidArgument(f"failed to process {self._text[start:][:100]!r}: missing ':' in substitution")
        raise InvalidArgument(f"unsupported modifier in substitution: {self._text[start:][:100]!r}")

    def _pattern(self, stops: str) -> str:
        before, self._in_pattern = self._in_pattern, True
        pattern = self.read(stops)
        self._in_pattern = before
        return pattern

    def _chosen(self, name: str, value: str | None, there: bool, modifier: str) -> str:
        word = self.read("}")
        if modifier == "+":
            return word if there else ""
        if there:
            return value or ""
        if modifier == "?":
            raise InvalidArgument(f"{name}: {word[:200] or 'is not allowed to be unset'}")
        return word
