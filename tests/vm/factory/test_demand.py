# SPDX-License-Identifier: Apache-2.0
"""How many VMs of each shape are kept ready."""

from __future__ import annotations

from hypercell.vm.factory.demand import FLOOR, FLOOR_LASTS, HALF_LIFE, Demand
from tests.support.workshop import specification


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counts(demand: Demand) -> dict[str, int]:
    return {key: count for key, (_, count) in demand.wanted().items()}


def test_as_many_wait_as_were_started_lately() -> None:
    demand = Demand(clock=Clock())
    for _ in range(7):
        demand.started("a", specification())
    demand.started("b", specification())
    assert counts(demand) == {"a": 7, "b": 1}


def test_the_most_wanted_shape_comes_first() -> None:
    demand = Demand(clock=Clock())
    for key in ("rare", "often", "often"):
        demand.started(key, specification())
    assert list(demand.wanted()) == ["often", "rare"]


def test_demand_halves_and_is_forgotten() -> None:
    clock = Clock()
    demand = Demand(clock=clock)
    for _ in range(16):
        demand.started("a", specification())
    clock.now += HALF_LIFE
    assert counts(demand) == {"a": 8}
    clock.now += 5 * HALF_LIFE
    assert counts(demand) == {}


def test_some_of_the_usual_shape_wait_while_anything_is_started() -> None:
    clock = Clock()
    demand = Demand(clock=clock)
    demand.expect("usual", specification())
    assert counts(demand) == {"usual": FLOOR}
    clock.now += FLOOR_LASTS - 1
    demand.started("other", specification())
    clock.now += FLOOR_LASTS - 1
    assert counts(demand) == {"usual": FLOOR}
    clock.now += 2
    assert counts(demand) == {}


def test_a_fixed_number_waits_whatever_the_demand_is() -> None:
    clock = Clock()
    demand = Demand(fill=100, clock=clock)
    demand.expect("usual", specification())
    clock.now += 10 * FLOOR_LASTS
    assert counts(demand) == {"usual": 100}


def test_shapes_of_long_ago_take_no_memory() -> None:
    clock = Clock()
    demand = Demand(clock=clock)
    for number in range(1000):
        demand.started(f"shape{number}", specification())
        clock.now += HALF_LIFE
        demand.wanted()
    assert len(demand._shapes) < 10
