# SPDX-License-Identifier: Apache-2.0
"""docs/docker-compatibility.md has every public endpoint of the Engine API 1.51, and says of each what is so."""

from __future__ import annotations

import re
from pathlib import Path

from hypercell.api.docker import unbuilt
from hypercell.api.docker.application import TABLES
from hypercell.api.http import Route

_PUBLIC = (Path(__file__).parent / "endpoints.txt").read_text().splitlines()
"""As the API's own description, version 1.51, names them."""
_PAGE = (Path(__file__).parents[2] / "docs" / "docker-compatibility.md").read_text()
_ROW = re.compile(r"^\| `((?:GET|HEAD|POST|PUT|DELETE) /[^`]*)` \| (full|partial|refused) \| (.*)\|$", re.MULTILINE)
_ROWS = {endpoint: (verdict, missing.strip()) for endpoint, verdict, missing in _ROW.findall(_PAGE)}


def _plain(endpoint: str) -> str:
    """Whatever its parameters are called."""
    return re.sub(r"\{[^}]*\}", "{}", endpoint)


def _routes(tables: list[list[Route]]) -> set[str]:
    return {_plain(f"{route.method} {route.pattern}") for table in tables for route in table}


def test_every_public_endpoint_is_told_once_and_no_other() -> None:
    assert sorted(endpoint for endpoint, _, _ in _ROW.findall(_PAGE)) == sorted(_PUBLIC)


def test_an_endpoint_is_refused_if_and_only_if_it_is_not_built() -> None:
    refused = {_plain(endpoint) for endpoint, (verdict, _) in _ROWS.items() if verdict == "refused"}
    assert refused == _routes([unbuilt.ROUTES]) & {_plain(endpoint) for endpoint in _PUBLIC}


def test_what_is_told_as_served_has_a_route() -> None:
    served = {_plain(endpoint) for endpoint, (verdict, _) in _ROWS.items() if verdict != "refused"}
    assert served <= _routes([table for table in TABLES if table is not unbuilt.ROUTES])


def test_whatever_is_not_full_says_what_is_missing() -> None:
    wrong = [endpoint for endpoint, (verdict, missing) in _ROWS.items() if (verdict == "full") != (missing == "")]
    assert wrong == []
