# SPDX-License-Identifier: Apache-2.0
"""Every number in somebody else's text is read by one rule: the ten digits of ASCII."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).resolve().parents[2] / "src").rglob("*.py"))
LAX = ("isdigit", "isdecimal", "isnumeric")


def lax_checks(source: str) -> Iterator[int]:
    """Lines that take digits of any script: string methods, and patterns with `\\d` that are not ASCII."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in LAX:
            yield node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "re":
            texts = [item.value for item in ast.walk(node) if isinstance(item, ast.Constant)]
            if any(isinstance(text, str) and "\\d" in text for text in texts) and "ASCII" not in ast.unparse(node):
                yield node.lineno


def test_digits_are_checked_in_one_place() -> None:
    found = {path.name: list(lax_checks(path.read_text())) for path in SOURCES if path.name != "digits.py"}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line", ["x.isdigit()", "filter(str.isdecimal, x)", r"re.compile(r'\d+')", r"re.sub('\\d', a, b)"]
)
def test_a_lax_check_is_found(line: str) -> None:
    assert list(lax_checks(line)) == [1]
    assert list(lax_checks(r"re.compile(r'\d+', re.ASCII)")) == []
