# SPDX-License-Identifier: Apache-2.0
"""docs/engine-api.md tells what is served and what is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hypercell.api.docker import swarm, unbuilt
from hypercell.api.docker.application import TABLES
from hypercell.api.docker.create import refused
from hypercell.api.http import Route
from hypercell.api.native import ROUTES as NATIVE

TEXT = (Path(__file__).parents[2] / "docs" / "engine-api.md").read_text()
SERVED, _, REST = TEXT.partition("## Not built")
UNBUILT = REST.partition("## Creating")[0]
SUMMED_UP = (unbuilt.ROUTES, swarm.ROUTES)


def named(text: str, column: int) -> set[str]:
    """`METHOD /path` of every route in a column of tables; a bare word stands for the path of the one before with
    another end, or for another method of it."""
    found: set[str] = set()
    for row in text.splitlines():
        if not row.startswith("|"):
            continue
        method = path = ""
        for part in re.findall(r"`([^`]+)`", row.split("|")[column]):
            if match := re.fullmatch(r"(GET|HEAD|POST|PUT|DELETE) (/\S*)", part):
                method, path = match.groups()
            elif part in ("GET", "HEAD", "POST", "PUT", "DELETE"):
                method = part
            elif re.fullmatch("[a-z]+", part) and path:
                path = path.rpartition("/")[0] + "/" + part
            else:
                continue
            found.add(f"{method} {path}")
    return found


def routes(tables: list[Route]) -> set[str]:
    return {f"{route.method} {route.pattern}" for route in tables}


def test_every_route_that_is_served_is_told_and_no_other() -> None:
    served = routes([route for table in TABLES if table not in SUMMED_UP for route in table] + NATIVE)
    assert named(SERVED, 1) == served


def test_every_route_that_is_not_built_is_told() -> None:
    told = named(UNBUILT, 2)
    for route in unbuilt.ROUTES:
        if not route.pattern.startswith("/plugins") and "/checkpoints" not in route.pattern:
            assert f"{route.method} {route.pattern}" in told


@pytest.mark.parametrize(
    "option", [name for name in refused._NOT_BUILT if not name.startswith(("Blkio", "CpuRe", "IO"))]
)
def test_every_option_that_is_refused_is_told(option: str) -> None:
    assert f"`{option}`" in TEXT
