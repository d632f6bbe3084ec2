# SPDX-License-Identifier: Apache-2.0
"""Lists of processors and memory nodes."""

from __future__ import annotations

import pytest

from hypercell.base.errors import InvalidArgument
from hypercell.cloud.cpusets import check_cpus, check_memory_nodes, parse_set


@pytest.mark.parametrize(
    ("text", "numbers"), [("", set()), ("0", {0}), ("0-2,7", {0, 1, 2, 7}), ("1,1,01", {1}), ("8191", {8191})]
)
def test_a_list_names_numbers(text: str, numbers: set[int]) -> None:
    assert parse_set(text, "cpuset cpus") == numbers


@pytest.mark.parametrize(
    "text", ["a", ",", "0,", "-1", "1-", "2-1", "0-1-2", " 0", "0 ", "٣", "8192", "9" * 5000, "0\n"]
)
def test_what_is_no_list_is_refused_in_dockers_words(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"(?s)Invalid value .* for cpuset cpus"):
        parse_set(text, "cpuset cpus")


@pytest.mark.parametrize(("text", "vcpus", "available"), [("1", 1, "0"), ("0-2", 2, "0-1"), ("0,8191", 4, "0-3")])
def test_a_processor_that_the_vm_has_not_is_refused(text: str, vcpus: int, available: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_cpus(text, vcpus)
    assert caught.value.message == f"Requested CPUs are not available - requested {text}, available: {available}"


@pytest.mark.parametrize(("text", "vcpus"), [("", 1), ("0", 1), ("0-3", 4)])
def test_those_that_the_vm_has_may_be_named(text: str, vcpus: int) -> None:
    check_cpus(text, vcpus)


def test_a_vm_has_one_node_of_memory() -> None:
    check_memory_nodes("")
    check_memory_nodes("0")
    with pytest.raises(InvalidArgument, match="memory nodes are not available - requested 0-1, available: 0"):
        check_memory_nodes("0-1")
