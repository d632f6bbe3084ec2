# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

from hypercell.vm.factory.promises import Promise
from hypercell.vm.factory.ways import Way


def test_a_vm_is_counted_on_until_the_promise_is_kept() -> None:
    counted: Counter[str] = Counter()
    first, second = Promise(Way.POOL, counted, "a"), Promise(Way.POOL, counted, "a")
    assert counted == {"a": 2}
    first.keep()
    first.keep()
    assert counted == {"a": 1}
    second.keep()
    assert counted == {}


def test_a_slower_way_counts_on_nobody() -> None:
    counted: Counter[str] = Counter()
    Promise(Way.COLD, counted, "").keep()
    assert Promise(Way.TEMPLATE, counted, "a").way is Way.TEMPLATE and counted == {}
