# SPDX-License-Identifier: Apache-2.0
"""Words as Dockerfile instructions have them: split at blanks outside quotes, then unquoted and expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hypercell.base.errors import InvalidArgument

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::([-+])([^}]*))?\})")


def split(text: str) -> list[str]:
    """The words of *text*, quotes and backslashes still in them."""
    words: list[str] = []
    word, quote, position = "", "", 0
    while position < len(text):
        char = text[position]
        if char == "\\" and quote != "'" and position + 1 < len(text):
            word += text[position : position + 2]
            position += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            if word:
                words.append(word)
            word = ""
            position += 1
            continue
        word += char
        position += 1
    if quote:
        raise InvalidArgument(f"unexpected end of statement while looking for matching {quote}")
    return [*words, word] if word else words


def expand(word: str, environment: Mapping[str, str]) -> str:
    """*word* without its quotes and backslashes, and with variables replaced outside single quotes."""
    result: list[str] = []
    quote, position = "", 0
    while position < len(word):
        char = word[position]
        if char == "\\" and quote != "'" and position + 1 < len(word):
            following = word[position + 1]
            # Inside double quotes a backslash only guards what would mean something there.
            result.append(following if not quote or following in '"$\\' else char + following)
            position += 2
        elif char in ("'", '"') and quote in ("", char):
            quote = "" if quote else char
            position += 1
        elif char == "$" and quote != "'":
            value, position = _variable(word, position, environment)
            result.append(value)
        else:
            result.append(char)
            position += 1
    return "".join(result)


def _variable(word: str, position: int, environment: Mapping[str, str]) -> tuple[str, int]:
    match = _VARIABLE.match(word, position)
    if match is None:
        if word.startswith("${", position):
            raise InvalidArgument(f"unsupported modifier in substitution: {word[position:][:100]!r}")
        return "$", position + 1
    value = environment.get(match[1] or match[2], "")
    if match[3] == "-":
        value = value or match[4]
    elif match[3] == "+":
        value = match[4] if value else ""
    return value, match.end()
