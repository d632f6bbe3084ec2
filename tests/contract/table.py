# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.contract.table`: write the listed differences into docs/docker-compatibility.md."""

from __future__ import annotations

from pathlib import Path

from tests.contract.differences import DIFFERENCES

PAGE = Path(__file__).parents[2] / "docs" / "docker-compatibility.md"
_HEAD = "| what | why |\n|---|---|\n"


def rows() -> str:
    return _HEAD + "".join(f"| {item.what} | {item.why} |\n" for item in DIFFERENCES)


def replaced(page: str) -> str:
    """*page* with the table that the list makes."""
    before, head, after = page.partition(_HEAD)
    assert head, f"{PAGE.name} has no table of differences"
    lines = after.splitlines(keepends=True)
    while lines and lines[0].startswith("|"):
        lines.pop(0)
    return before + rows() + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text()))
