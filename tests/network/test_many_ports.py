# SPDX-License-Identifier: Apache-2.0
"""Many ports at once: they share transactions, and none of them pays for the others."""

from __future__ import annotations

import asyncio
import os

import pytest

from hypercell.backends.network import LocalNetwork
from hypercell.backends.network.host_ports import HostPorts
from hypercell.backends.network.nft import Nft
from hypercell.base.errors import Conflict, Internal
from hypercell.base.ids import new_id
from hypercell.node.network import BRIDGE, NONE, PublishedPort, Wish
from tests.network.test_local_network import ANY, at, config, db, guest, network, rules

__all__ = ["config", "db", "network"]


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that nftables is told."""
    told: list[str] = []
    apply = Nft._apply

    def watched(self: Nft, commands: str) -> None:
        told.append(commands)
        apply(self, commands)

    monkeypatch.setattr(Nft, "_apply", watched)
    return told


async def test_ports_are_released_together_whatever_was_done_with_them(
    network: LocalNetwork, transactions: list[str]
) -> None:
    used, created, kept = (
        await guest(network),
        *[await network.allocate(new_id(), "t", (Wish(BRIDGE),)) for _ in range(2)],
    )
    alone = await network.allocate(new_id(), "t", (Wish(NONE),))
    await network.publish(used.port.id, (PublishedPort(80, "tcp", ANY, 18080), PublishedPort(80, "udp", ANY, 18081)))
    await network.publish(kept.id, (PublishedPort(80, "tcp", ANY, 18082),))
    os.close(used.tap)
    transactions.clear()
    await network.release(used.port.id, created.id, alone.id, new_id())
    assert len(transactions) == 1
    left = rules()
    assert not any(word in left for word in (at(used.port).mac, "18080", "18081")) and "18082" in left
    assert set(network._ports.known) == {kept.id}
    await network.publish(kept.id, (PublishedPort(80, "tcp", ANY, 18080),))


async def test_a_change_names_nobody_but_its_own_port(network: LocalNetwork, transactions: list[str]) -> None:
    others = [await network.allocate(new_id(), "t", (Wish(BRIDGE),)) for _ in range(20)]
    transactions.clear()
    one, spare = await guest(network), await network.spare_tap()
    await network.publish(one.port.id, (PublishedPort(80, "tcp", ANY, 18080),))
    await network.unpublish(one.port.id)
    await network.give_tap(others[0].id, spare.name)
    os.close(one.tap)
    os.close(spare.descriptor)
    await network.release(one.port.id)
    assert len(transactions) == 5
    assert not any(at(other).mac in commands for other in others[1:] for commands in transactions)


async def test_what_is_asked_for_at_once_is_few_transactions(network: LocalNetwork, transactions: list[str]) -> None:
    ports = [await network.allocate(new_id(), "t", (Wish(BRIDGE),)) for _ in range(50)]
    transactions.clear()
    taps = await asyncio.gather(*(network.open_tap(port.id) for port in ports))
    for tap in taps:
        os.close(tap)
    text = rules()
    assert all(at(port).mac in text for port in ports)
    assert len(transactions) < 25


async def test_a_change_that_is_refused_takes_no_other_with_it(network: LocalNetwork) -> None:
    wrong = "delete element ip hypercell_hctest0 tcp_any { 7 }"
    works = [f"add element ip hypercell_hctest0 tcp_any {{ {n} : 172.30.0.9 . {n} }}" for n in range(7001, 7021)]
    works.insert(10, wrong)
    results = await asyncio.gather(*map(network._nft.run, works), return_exceptions=True)
    assert [isinstance(result, Internal) for result in results] == [work is wrong for work in works]
    assert all(f"{n} : 172.30.0.9" in rules() for n in range(7001, 7021))


def test_host_ports_are_taken_all_or_none_and_can_be_had_again() -> None:
    ports = HostPorts({"old": (PublishedPort(80, "tcp", ANY, 18080),)})
    with pytest.raises(Conflict):
        ports.take("one", (PublishedPort(1, "tcp", ANY, 18081), PublishedPort(2, "tcp", "127.0.0.1", 18080)))
    assert ports.of("one") == ()
    ports.take("two", (PublishedPort(1, "tcp", "127.0.0.1", 18081), PublishedPort(1, "udp", ANY, 18081)))
    with pytest.raises(Conflict):
        ports.take("one", (PublishedPort(1, "tcp", ANY, 18081),))
    ports.take("one", (PublishedPort(1, "tcp", "127.0.0.2", 18081),))
    for name in ("old", "two", "nobody"):
        ports.give_back(name)
    with pytest.raises(Conflict):
        ports.take("three", (PublishedPort(1, "tcp", ANY, 18081),))
    ports.give_back("one")
    assert len(ports.take("three", (PublishedPort(1, "tcp", ANY, 18081), PublishedPort(1, "tcp", ANY, 18080)))) == 2


def test_a_chosen_host_port_is_not_chosen_again_at_once() -> None:
    ports = HostPorts({})
    (first,) = ports.take("one", (PublishedPort(80, "tcp", ANY, 0),))
    ports.give_back("one")
    (second,) = ports.take("two", (PublishedPort(80, "tcp", ANY, 0),))
    assert second.host_port > first.host_port
