# SPDX-License-Identifier: Apache-2.0
"""The comparison sees what differs, and the normal form hides nothing but chance."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.compare import ABSENT, Found, differences
from tests.contract.differences import Case, unlisted
from tests.contract.normal import NEVER, Labels, normal


def step(body: Any, status: int = 200) -> dict[str, Any]:
    return {"step": {"status": status, "type": "application/json", "body": body}}


def found(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(item.member, item.reference, item.ours) for item in differences("s", one, other)]


def test_answers_that_are_alike_have_no_difference() -> None:
    assert found(step({"a": [1, None]}), step({"a": [1, None]})) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ("body.a.b", "1", "2")),
        ({"a": 1}, {}, ("body.a", "1", ABSENT)),
        ({}, {"a": None}, ("body.a", ABSENT, "null")),
        ([1, 2], [2, 1], ("body.0", "1", "2")),
        ([1], [1, 2], ("body", "[1]", "[1, 2]")),
        ({"a": None}, {"a": []}, ("body.a", "null", "[]")),
        ({"a": 1}, {"a": True}, ("body.a", "1", "true")),
        ({"a": 0}, {"a": False}, ("body.a", "0", "false")),
        ({"message": "no"}, {"message": "yes"}, ("body.message", '"no"', '"yes"')),
        ({"message": "no"}, {"message": "nobody: no"}, ("body.message", '"no"', '"nobody: no"')),
        ({"Name": "a"}, {"Name": "a: b"}, ("body.Name", '"a"', '"a: b"')),
    ],
)
def test_what_differs_is_found(one: Any, other: Any, expected: tuple[str, str, str]) -> None:
    assert expected in found(step(one), step(other))


def test_another_status_is_one_difference() -> None:
    assert found(step({"a": 1}), step({"message": "x"}, 404)) == [("status", '200 {"a": 1}', '404 {"message": "x"}')]


def test_a_step_that_one_of_them_never_reached_is_found() -> None:
    assert found(step(1), {}) == [("step", "True", "False")]


def test_a_message_may_go_on_with_a_hint() -> None:
    assert found(step({"message": "no such thing"}), step({"message": "no such thing: make one"})) == []


def test_what_no_case_covers_is_unlisted() -> None:
    odd = Found("s: GET /odd", "body.Odd", "1", "2")
    assert unlisted([odd]) == [odd]
    assert Case("body.*", "s: *", "2").covers(odd)
    assert not Case("body.*", "s: *", "3").covers(odd)
    assert not Case("body.Od", "s: *").covers(odd)


def test_an_id_is_called_what_it_is_and_no_other_is_called_so() -> None:
    labels, mine, other = Labels(), "a" * 64, "b" * 64
    labels.add(mine, "id of box")
    text = {"mine": mine, "short": mine[:12], "other": other, "image": f"sha256:{other}"}
    expected = {"mine": "<id of box>", "short": "<short id of box>", "other": "<id>", "image": "<digest>"}
    assert normal(text, labels) == expected


def test_times_are_hidden_but_not_that_something_never_was() -> None:
    given = {"Created": 1700000000, "At": "2024-02-03T04:05:06.7Z", "Never": NEVER, "Pid": 0, "Size": 7}
    expected = {"Created": "<moment>", "At": "<time>", "Never": NEVER, "Pid": 0, "Size": "<amount>"}
    assert normal(given, Labels()) == expected


def test_order_counts_but_where_it_has_no_meaning() -> None:
    assert normal({"Args": ["b", "a"], "RepoTags": ["b", "a"]}, Labels()) == {
        "Args": ["b", "a"],
        "RepoTags": ["a", "b"],
    }
