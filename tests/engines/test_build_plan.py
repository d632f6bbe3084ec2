# SPDX-License-Identifier: Apache-2.0
"""Which stages are built, and what they see of the build's arguments."""

from __future__ import annotations

import pytest

from hypercell.base.errors import InvalidArgument
from hypercell.engines.build.arguments import Arguments
from hypercell.engines.build.parser import parse
from hypercell.engines.build.plan import Plan, plan
from hypercell.images.platforms import Platform

TEXT = b"""
ARG V=1
FROM a AS one
FROM b AS two
COPY --from=one x /
FROM one AS three
COPY --from=image x /
FROM c
COPY --from=1 x /
FROM two AS one
"""


def planned(target: str = "") -> Plan:
    return plan(parse(TEXT)[1], target)


@pytest.mark.parametrize(
    ("target", "positions"),
    [("", [0, 1, 4]), ("three", [0, 2]), ("TWO", [0, 1]), ("3", [0, 1, 3]), ("0", [0]), ("one", [0, 1, 4])],
)
def test_a_target_needs_what_it_begins_from_and_copies_from(target: str, positions: list[int]) -> None:
    assert [stage.position for stage in planned(target).needed()] == positions


@pytest.mark.parametrize("target", ["four", "5", "-1"])
def test_a_target_that_is_not_there_is_refused(target: str) -> None:
    with pytest.raises(InvalidArgument, match="could not be found"):
        planned(target)


def test_a_stage_finds_only_those_above_it() -> None:
    found = planned().find("one", 4)
    assert found is not None and found.position == 0
    assert planned().find("three", 2) is None


def test_nothing_but_arguments_stands_before_the_first_stage() -> None:
    with pytest.raises(InvalidArgument, match="no build stage"):
        plan(parse(b"ARG A\nRUN x\nFROM b")[1], "")
    with pytest.raises(InvalidArgument, match="0 stages"):
        plan(parse(b"ARG A")[1], "")


def arguments(**given: str | None) -> Arguments:
    return Arguments(given, Platform("linux", "amd64"))


def test_what_is_given_goes_before_what_is_declared() -> None:
    found = arguments(A="given", N=None)
    found.declare_global("G", "global")
    for name, default in (("A", "default"), ("B", "default"), ("C", None), ("G", None), ("N", "default")):
        found.declare(name, default)
    assert found.visible() == {"A": "given", "B": "default", "G": "global", "N": "default"}


def test_an_argument_is_seen_where_it_is_declared_and_by_stages_that_begin_from_there() -> None:
    found = arguments(A="1")
    found.declare("A", None)
    declared = found.declared
    found.begin_stage()
    assert found.visible() == {}
    found.begin_stage(declared)
    assert found.visible() == {"A": "1"}


def test_from_sees_what_stands_in_front_of_it_and_the_platform() -> None:
    found = arguments(A="1", B="2")
    found.declare_global("A", "0")
    seen = found.for_from()
    assert (seen["A"], seen["TARGETPLATFORM"], "B" in seen) == ("1", "linux/amd64", False)


def test_proxies_are_given_to_commands_and_tell_none_apart() -> None:
    found = arguments(http_proxy="p", A="1")
    found.declare("A", None)
    assert found.for_command({}) == {"http_proxy": "p", "A": "1"}
    assert found.told({}) == ["A=1"]
    assert found.for_command({"A": ""}) == {"http_proxy": "p"}
    assert found.told({"A": ""}) == []
    assert found.unused() == []
    assert arguments(A="1", NO_PROXY="x").unused() == ["A"]
