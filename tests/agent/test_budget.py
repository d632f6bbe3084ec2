# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypercell.agent.budget import Budget


def test_a_budget_allows_a_burst_and_then_the_rate() -> None:
    budget = Budget(burst=3, rate=2, now=100)
    assert [budget.take(100) for _ in range(4)] == [True, True, True, False]
    assert [budget.take(101) for _ in range(3)] == [True, True, False]


def test_a_budget_saves_up_no_more_than_the_burst() -> None:
    budget = Budget(burst=3, rate=2, now=0)
    assert sum(budget.take(1e9) for _ in range(10)) == 3
