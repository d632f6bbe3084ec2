# SPDX-License-Identifier: Apache-2.0
"""How much memory VMs have."""

from __future__ import annotations

import pytest

from hypercell.base.sizes import SIZES
from hypercell.vm.factory import memory_mib

MIB = 1024 * 1024


@pytest.mark.parametrize("mib", [*range(6, 700, 7), 1000, 1024, 1025, 4096, 5000, 1024 * 1024])
@pytest.mark.parametrize("overhead", [0, 40, 88])
def test_a_vm_has_what_was_asked_for_and_at_most_an_eighth_more(mib: int, overhead: int) -> None:
    wanted = mib + overhead
    got = memory_mib(mib * MIB, overhead)
    assert got >= max(64, wanted)
    assert got <= max(64, wanted + wanted // 8)


def test_sizes_between_two_powers_of_two_are_eight() -> None:
    assert len({memory_mib(mib * MIB, 0) for mib in range(513, 1025)}) == 8


def test_a_byte_more_than_a_mebibyte_is_the_next_mebibyte() -> None:
    assert memory_mib(64 * MIB, 0) == 64
    assert memory_mib(64 * MIB + 1, 0) == 72


def test_size_classes_do_not_share_a_vm_size() -> None:
    memory = {size.memory for size in SIZES.values()}
    assert len({memory_mib(one, 40) for one in memory}) == len(memory)
