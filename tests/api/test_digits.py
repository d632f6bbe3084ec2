# SPDX-License-Identifier: Apache-2.0
"""What only looks like a number is none in a query, a filter or a port of the Engine API."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from hypercell.api.docker.container_filters import _exit_code, _ports
from hypercell.api.docker.create.ports import split_port
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.patterns import Pattern
from hypercell.api.docker.query import number, window
from hypercell.api.docker.times import parse_timestamp
from hypercell.api.http import Query
from hypercell.base.durations import parse_duration
from hypercell.base.errors import InvalidArgument
from tests.support.digits import LOOK_LIKE_NUMBERS


@pytest.mark.parametrize("text", [*LOOK_LIKE_NUMBERS, "9" * 5000])
def test_it_is_refused_wherever_a_number_is_asked_for(text: str) -> None:
    published = Filters.parse(json.dumps({"publish": [text]}), frozenset({"publish"}))
    for attempt in (
        lambda: number(Query(urlencode({"n": text})), "n"),
        lambda: window(Query(urlencode({"h": text, "w": "80"}))),
        lambda: split_port(text, "ExposedPorts"),
        lambda: _exit_code(f"{text}0" if text != "+1" else "++1"),  # Go reads a sign
        lambda: _ports(published, "publish"),
        lambda: parse_timestamp(text, "since"),
    ):
        with pytest.raises(InvalidArgument):
            attempt()
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(f"{text}s" if text.strip() != "+1" else "++1s")
    with pytest.raises(ValueError, match="malformed repetition"):
        Pattern(f"a{{{text[:200]}}}")
