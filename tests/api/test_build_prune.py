# SPDX-License-Identifier: Apache-2.0
"""`POST /build/prune`: which steps its parameters mean, and which parameters are none."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from hypercell.api.docker.build_prune import _Wanted
from hypercell.api.docker.filters import Filters
from hypercell.images.contract import CachedStep
from tests.support.image_shelf import image

from .conftest import Client

ID, PARENT = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
HISTORY = ({"created_by": "first"}, {"created_by": "/bin/sh -c make"})
STEP = CachedStep(
    replace(image("x:1", ID, labels={"team": "a"}, history=HISTORY), parent=PARENT),
    time.time_ns() - 3600 * 10**9,
    False,
)


def means(step: CachedStep, everything: bool = False, **filters: Any) -> bool:
    named = {name.replace("_", "-").replace("-not", "!"): values for name, values in filters.items()}
    parsed = Filters.parse(json.dumps(named), frozenset(named))
    return _Wanted(parsed, everything)(step)


def test_what_other_images_were_made_of_goes_with_all_alone() -> None:
    shared = replace(STEP, shared=True)
    assert means(STEP) and not means(shared) and means(shared, everything=True)
    assert means(STEP, private=[]) and not means(STEP, shared=[]) and means(shared, True, shared=["true"])
    assert not means(STEP, private=["false"]) and means(STEP, shared=["0"])


@pytest.mark.parametrize(
    ("filters", "is_meant"),
    [
        ({"until": ["30m"]}, True),
        ({"until": ["2h"]}, False),
        ({"unused_for": ["30m"]}, True),
        ({"unused_for": ["2h"]}, False),
        ({"id": ["abab"]}, True),
        ({"id": ["^abab"]}, False),
        ({"parent": [PARENT]}, True),
        ({"parent": [ID]}, False),
        ({"type": ["regular"]}, True),
        ({"type": ["exec.cachemount"]}, False),
        ({"description": ["/bin/sh -c make"]}, True),
        ({"description": ["make"]}, False),
        ({"inuse": []}, False),
        ({"inuse": ["false"]}, True),
        ({"label": ["team=a"]}, True),
        ({"label": ["team=b"]}, False),
        ({"label_not": ["team"]}, False),
        ({"label_not": ["team=b"], "id": ["abab"], "until": ["1m"]}, True),
    ],
)
def test_filters_are_dockers(filters: dict[str, list[str]], is_meant: bool) -> None:
    assert means(STEP, **filters) is is_meant


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("filters=" + quote('{"until":["1h"],"unused-for":["1h"]}'), 'conflicting filters: "until" and "unused-for"'),
        ("filters=" + quote('{"until":["1h","2h"]}'), "filters expect only one value"),
        ("filters=" + quote('{"id":["a","b"]}'), "filters expect only one value"),
        ("filters=" + quote('{"until":["soon"]}'), "\"until\" filter expects a duration (e.g., '24h') or a timestamp"),
        ("filters=" + quote('{"id":["("]}'), "invalid filter 'id=('"),
        ("filters=" + quote('{"dangling":["1"]}'), "invalid filter 'dangling'"),
        ("filters=" + quote('{"shared":["perhaps"]}'), "invalid filter 'shared=[perhaps]'"),
        ("reserved-space=1GB", "reserved-space is in bytes and expects an integer, got 1GB"),
        ("keep-storage=x", "keep-storage is in bytes and expects an integer, got x"),
        ("max-used-space=9223372036854775808", "max-used-space is in bytes and expects an integer, got 92"),
        ("min-free-space=--1", "min-free-space is in bytes and expects an integer, got --1"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_dockerds_words(client: Client, query: str, words: str) -> None:
    status, answer = await client.ask("POST", f"/build/prune?{query}")
    assert status == 400 and answer["message"].startswith(words)


async def test_limits_of_space_are_taken_by_the_versions_that_have_them(client: Client) -> None:
    limits = "reserved-space=1&keep-storage=1&max-used-space=5&min-free-space=-1"
    assert await client.ask("POST", f"/build/prune?{limits}") == (200, {"CachesDeleted": None, "SpaceReclaimed": 0})
    assert (await client.ask("POST", "/v1.47/build/prune?max-used-space=x&reserved-space=x"))[0] == 200
    assert (await client.ask("POST", "/v1.47/build/prune?keep-storage=x"))[0] == 400
