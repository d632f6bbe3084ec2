# SPDX-License-Identifier: Apache-2.0
"""Taps that are made before anybody needs one, and what becomes of them."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from hypercell.backends.network import LocalNetwork, links, open_network
from hypercell.backends.network.rules import is_spare, spare_name, tap_name, tap_prefix
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import Conflict, Internal, InvalidArgument, NotFound
from hypercell.base.ids import new_id
from hypercell.node.network import BRIDGE, NONE, SpareTap, Wish
from tests.network.test_local_network import Guest, at, config, db, guest, network, rules

__all__ = ["config", "db", "network"]

OWN = "hctest0"


def link(name: str) -> str:
    """What `ip` says of it; empty if there is none."""
    return subprocess.run(["ip", "-o", "link", "show", name], check=False, capture_output=True, text=True).stdout


def flags(tap: int) -> int:
    """What kind of tap it is: TUNGETIFF of linux/if_tun.h."""
    (found,) = struct.unpack_from("=H", fcntl.ioctl(tap, 0x800454D2, bytes(40)), 16)
    return int(found)


async def given(network: LocalNetwork) -> Guest:
    """A guest on a tap that was a spare."""
    port, spare = await network.allocate(new_id(), "default", (Wish(BRIDGE),)), await network.spare_tap()
    await network.give_tap(port.id, spare.name)
    return Guest(port, spare.descriptor)


async def test_a_spare_tap_is_down_and_joins_nothing(network: LocalNetwork) -> None:
    spare = await network.spare_tap()
    try:
        shown = link(spare.name)
        assert "master" not in shown and "UP" not in shown
        port = await network.allocate(new_id(), "default", (Wish(BRIDGE),))
        opened = await network.open_tap(port.id)
        kinds = [flags(descriptor) for descriptor in (spare.descriptor, opened)]
        os.close(opened)
        assert kinds[0] == kinds[1]
    finally:
        os.close(spare.descriptor)
    assert not link(spare.name), "it outlived its holder"


async def test_a_given_tap_is_as_one_that_was_opened_for_its_port(network: LocalNetwork) -> None:
    one, two = await given(network), await guest(network)
    try:
        name = tap_name(OWN, one.port.id)
        assert f"master {OWN}" in link(name) and "UP" in link(name)
        assert Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6").read_text() == "1\n"
        one.arp_who_has(two.ip)
        assert await two.receives(one.ip + bytes(6) + two.ip), "an honest question did not arrive"
        one.arp_who_has(two.ip, ip=one.gateway)
        assert not await two.receives(one.gateway + bytes(6), 0.3), "a forged one did"
    finally:
        os.close(one.tap)
        os.close(two.tap)


async def test_nobody_is_on_the_bridge_before_it_is_known_who_he_is(
    network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, spare = await network.allocate(new_id(), "default", (Wish(BRIDGE),)), await network.spare_tap()
    known_when_joined = []
    rejoin = links.rejoin

    def watched(name: str, bridge: str) -> None:
        known_when_joined.append(f'"{name}" . {at(port).mac}' in rules())
        rejoin(name, bridge)

    monkeypatch.setattr(links, "rejoin", watched)
    await network.give_tap(port.id, spare.name)
    os.close(spare.descriptor)
    assert known_when_joined == [True]


async def test_a_tap_given_to_a_port_without_network_joins_nothing(network: LocalNetwork) -> None:
    port, spare = await network.allocate(new_id(), "default", (Wish(NONE),)), await network.spare_tap()
    await network.give_tap(port.id, spare.name)
    try:
        assert "master" not in link(tap_name(OWN, port.id)) and not link(spare.name)
        assert at(port).mac not in rules()
    finally:
        os.close(spare.descriptor)


async def test_giving_it_twice_is_no_error_but_to_two_is(network: LocalNetwork) -> None:
    one, two = [await network.allocate(new_id(), "default", (Wish(BRIDGE),)) for _ in range(2)]
    spare = await network.spare_tap()
    try:
        await network.give_tap(one.id, spare.name)
        await network.give_tap(one.id, spare.name)
        with pytest.raises(Conflict, match="gone"):
            await network.give_tap(two.id, spare.name)
        assert link(tap_name(OWN, one.id)) and not link(tap_name(OWN, two.id))
    finally:
        os.close(spare.descriptor)


async def test_a_port_that_has_a_tap_gets_no_second(network: LocalNetwork) -> None:
    one, spare = await guest(network), await network.spare_tap()
    try:
        with pytest.raises(Internal, match="File exists"):
            await network.give_tap(one.port.id, spare.name)
        assert link(spare.name)
    finally:
        os.close(one.tap)
        os.close(spare.descriptor)


async def test_a_spare_whose_holder_ended_is_gone(network: LocalNetwork) -> None:
    port, spare = await network.allocate(new_id(), "default", (Wish(BRIDGE),)), await network.spare_tap()
    os.close(spare.descriptor)
    with pytest.raises(Conflict, match="gone"):
        await network.give_tap(port.id, spare.name)


@pytest.mark.parametrize(
    "name", ["", "lo", OWN, "x" * 500, "../../etc", "a\0b", "hc-000000000", f"{tap_prefix(OWN)}-00000000\n"]
)
async def test_what_is_no_spare_tap_of_ours_is_left_alone(network: LocalNetwork, name: str) -> None:
    port = await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    with pytest.raises(InvalidArgument, match="no spare tap"):
        await network.give_tap(port.id, name)
    assert not link(tap_name(OWN, port.id))


async def test_the_taps_of_others_cannot_be_given(network: LocalNetwork) -> None:
    one, thief = await guest(network), await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    foreign = SpareTap(spare_name("other0"), links.open_tap(spare_name("other0")))
    try:
        for name in (tap_name(OWN, one.port.id), foreign.name):
            with pytest.raises(InvalidArgument):
                await network.give_tap(thief.id, name)
        assert link(tap_name(OWN, one.port.id))
    finally:
        os.close(one.tap)
        os.close(foreign.descriptor)


async def test_a_port_that_is_unknown_gets_no_tap(network: LocalNetwork) -> None:
    spare = await network.spare_tap()
    try:
        with pytest.raises(NotFound):
            await network.give_tap(new_id(), spare.name)
        assert link(spare.name)
    finally:
        os.close(spare.descriptor)


def test_no_port_can_have_the_name_of_a_spare() -> None:
    names = {spare_name(OWN) for _ in range(100)}
    assert len(names) == 100 and all(is_spare(OWN, name) and len(name) <= 15 for name in names)
    assert not any(is_spare(OWN, tap_name(OWN, new_id())) for _ in range(100))


@pytest.mark.parametrize("step", ["rename", "rejoin", "_allow_hairpin", "set_up"])
async def test_a_tap_half_given_when_the_daemon_died_is_put_right_by_its_successor(
    network: LocalNetwork, config: Config, db: Database, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    port, spare, other = (
        await network.allocate(new_id(), "default", (Wish(BRIDGE),)),
        await network.spare_tap(),
        await guest(network),
    )

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(links, step, dies)
        with pytest.raises(KeyboardInterrupt):
            await network.give_tap(port.id, spare.name)
    await network.close()
    returned = await open_network(config, db)
    await returned.start()
    network._nft, network._dns = returned._nft, returned._dns
    await returned.reconcile({port.id, other.port.id})
    one = Guest(port, spare.descriptor)
    try:
        if step == "rename":
            assert link(spare.name) and "master" not in link(spare.name), "it is still the VM's alone"
            await returned.give_tap(port.id, spare.name)
        one.arp_who_has(other.ip)
        assert await other.receives(one.ip + bytes(6) + other.ip)
    finally:
        os.close(one.tap)
        os.close(other.tap)


async def test_the_gateway_keeps_its_address_whoever_comes(network: LocalNetwork) -> None:
    before = re.findall("link/ether ([0-9a-f:]+)", link(OWN))
    guests = [await guest(network) for _ in range(8)]
    assert re.findall("link/ether ([0-9a-f:]+)", link(OWN)) == before
    for each in guests:
        os.close(each.tap)
    assert re.findall("link/ether ([0-9a-f:]+)", link(OWN)) == before
