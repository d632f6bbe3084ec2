# SPDX-License-Identifier: Apache-2.0
"""docs/security.md names tests that exist, for every line of the list of hostile inputs."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:tests|guest)/[\w/.]+)::([\w*]+)`", TEXT)))
LINES = [f"{part}{number}" for part, count in (("A", 14), ("B", 11), ("C", 7)) for number in range(1, count + 1)]
LINES += ["C4b", "C4c"]


@cache
def names_in(file: str) -> list[str]:
    text = (ROOT / file).read_text()
    return re.findall(r"^\s*(?:async )?def (test_\w+)|^static void (test_\w+)\(void\)", text, re.MULTILINE)


@pytest.mark.parametrize(("file", "pattern"), NAMED, ids=lambda value: value)
def test_a_test_that_is_named_exists(file: str, pattern: str) -> None:
    names = [python or c for python, c in names_in(file)]
    assert any(fnmatchcase(name, pattern) for name in names)


@pytest.mark.parametrize("line", LINES)
def test_every_line_has_its_place(line: str) -> None:
    rows = re.findall(rf"^\| {line} \| (.*) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 1
    assert "::test_" in rows[0] or "does not apply" in rows[0]
