# SPDX-License-Identifier: Apache-2.0
"""Patterns of paths: Go's, and those of `.dockerignore`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.base.errors import InvalidArgument
from hypercell.base.path_patterns import IgnoreRules, match_name, matches


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a", "a", True), ("a", "b", False), ("*", "", True), ("*", "abc", True), ("a*c", "abbc", True),
        ("a*c", "abcd", False), ("*a*b*", "xxaxxbxx", True), ("?", "é", True), ("?", "", False), ("a?", "a", False),
        ("[a-c]x", "bx", True), ("[^a-c]x", "bx", False), ("[]]", "]", None),
        ("[\\]]", "]", True), ("[a\\-c]", "b", False), ("[]", "a", None), ("[", "a", None),
        ("\\*", "*", True), ("\\*", "a", False), ("a[b", "ab", None), ("a\\", "a", None),
    ],
)  # fmt: skip
def test_a_component_matches_as_gos_does(pattern: str, name: str, fits: bool | None) -> None:
    if fits is None:
        with pytest.raises(InvalidArgument):
            match_name(pattern, name)
    else:
        assert match_name(pattern, name) is fits


def test_a_star_stops_at_a_slash() -> None:
    assert matches("a/*", "a/b") and not matches("a/*", "a/b/c") and not matches("*", "a/b")


@pytest.mark.parametrize(
    ("lines", "excluded", "kept"),
    [
        ("a", "a a/b", "b x/a"),
        ("/a", "a", "x/a"),
        ("a/", "a a/b", "b"),
        ("*/a", "x/a x/a/b", "a x/y/a"),
        ("**/a", "a x/a x/y/a x/a/b", "b"),
        ("**/*.go", "a.go x/y.go", "a.c"),
        ("**.go", "a.go x/y.go", "a.c"),
        ("a/**", "a/b a/b/c", "a b"),
        ("a/**/b", "a/b a/x/b a/x/y/b", "a/x"),
        ("*\n!b", "a", "b b/c"),
        ("a\n!a/b\na/b/c", "a a/x a/b/c", "a/b a/b/d"),
        ("!a\na", "a", "b"),
        ("# a\n\n  b  ", "b", "a"),
        ("./a/../b", "b", "a"),
        ("../a", "a", "b"),
        ("**", "a a/b", ""),
    ],
)
def test_the_last_rule_that_covers_a_path_decides(lines: str, excluded: str, kept: str) -> None:
    rules = IgnoreRules(lines.split("\n"))
    assert [path for path in excluded.split() if not rules.excludes(path)] == []
    assert [path for path in kept.split() if rules.excludes(path)] == []


def test_an_exception_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        IgnoreRules(["!"])


@given(st.lists(st.text(alphabet="ab*?[]!/\\.^-", max_size=12), max_size=5), st.text(alphabet="ab/", min_size=1))
def test_any_rules_are_refused_or_understood(lines: list[str], path: str) -> None:
    with contextlib.suppress(InvalidArgument):
        IgnoreRules(lines).excludes(path.strip("/") or "a")


def test_stars_cost_no_more_than_their_number() -> None:
    assert not match_name("*a" * 200 + "b", "a" * 255)
    assert not IgnoreRules(["/".join(["**", "a"] * 50) + "/b"]).excludes("/".join(["a"] * 500))
