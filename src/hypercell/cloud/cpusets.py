# SPDX-License-Identifier: Apache-2.0
"""docker's lists of processors and memory nodes, such as `0-2,7`: here those of the container's VM."""

from __future__ import annotations

from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument

_MOST = 8192


def parse_set(text: str, what: str) -> frozenset[int]:
    """The numbers of a list; *what* it is of, in docker's words. Raises `InvalidArgument`."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        low, dash, high = part.partition("-")
        high = high if dash else low
        if not (is_digits(low, longest=4) and is_digits(high, longest=4) and int(low) <= int(high) < _MOST):
            raise InvalidArgument(f"Invalid value {text[:100]} for {what}", "such as 0-2,7")
        numbers.update(range(int(low), int(high) + 1))
    return frozenset(numbers)


def check_cpus(text: str, vcpus: int) -> None:
    """Raises `InvalidArgument` for a list that names other processors than the first *vcpus*."""
    if max(parse_set(text, "cpuset cpus"), default=0) >= vcpus:
        there = f"0-{vcpus - 1}" if vcpus > 1 else "0"
        raise InvalidArgument(
            f"Requested CPUs are not available - requested {text[:100]}, available: {there}",
            "these are the VM's: give it more with --cpus or a size",
        )


def check_memory_nodes(text: str) -> None:
    """Raises `InvalidArgument` for another node than the one that a VM has."""
    if parse_set(text, "cpuset mems") - {0}:
        raise InvalidArgument(
            f"Requested memory nodes are not available - requested {text[:100]}, available: 0",
            "a VM has one node of memory",
        )
