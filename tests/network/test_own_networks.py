# SPDX-License-Identifier: Apache-2.0
"""Networks of one's own, with real bridges, taps, nftables and packets: subnets, walls, moves, and a daemon's death."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.message
import pytest

from hypercell.backends.network import LocalNetwork, links, open_network
from hypercell.backends.network.answers import answer
from hypercell.backends.network.dns import failure
from hypercell.backends.network.rules import bridge_name, tap_name
from hypercell.base import crash
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import Conflict, Forbidden, InvalidArgument, NotFound, Unsupported
from hypercell.base.ids import new_id
from hypercell.node.network import BRIDGE, MOST_PLACES, NONE, NetworkRecord, NetworkSpec, Place, PublishedPort, Wish
from tests.network.test_local_network import ANY, Guest, at, config, db, network, rules
from tests.network.test_spoofing import frame, received, udp

__all__ = ["config", "db", "network"]
OWN = "hctest0"


async def made(network: LocalNetwork, name: str, **wishes: Any) -> NetworkRecord:
    return await network.create_network(NetworkSpec("t", name, **wishes))


async def guest(network: LocalNetwork, record: NetworkRecord, **wishes: Any) -> Guest:
    port = await network.allocate(new_id(), "t", (Wish(record.id, **wishes),))
    return Guest(port, await network.open_tap(port.id))


def bridges() -> set[str]:
    return {name for name in links.names() if name.startswith("hb")}


@pytest.fixture
async def pair(network: LocalNetwork) -> AsyncIterator[tuple[NetworkRecord, NetworkRecord]]:
    yield await made(network, "one"), await made(network, "two")


async def reopened(network: LocalNetwork, config: Config, db: Database) -> LocalNetwork:
    """Its successor, whose the fixture's end is."""
    await network.close()
    again = await open_network(config, db)
    await again.start()
    network._nft, network._dns = again._nft, again._dns
    return again


async def test_each_network_has_a_subnet_that_nothing_else_has(network: LocalNetwork) -> None:
    subprocess.run(["ip", "route", "add", "172.17.0.0/16", "dev", "lo"], check=True)
    try:
        subnets = [(await made(network, f"n{number}")).spec.subnet for number in range(3)]
    finally:
        subprocess.run(["ip", "route", "del", "172.17.0.0/16", "dev", "lo"], check=True)
    assert subnets == ["172.16.0.0/16", "172.18.0.0/16", "172.19.0.0/16"]
    assert (await made(network, "after")).spec.subnet == "172.17.0.0/16"


@pytest.mark.parametrize("subnet", ["172.30.0.0/24", "172.16.4.0/24", "172.0.0.0/8", "10.5.0.0/16"])
async def test_a_subnet_that_overlaps_is_forbidden(network: LocalNetwork, subnet: str) -> None:
    await made(network, "one", subnet="172.16.0.0/16")
    await made(network, "two", subnet="10.5.128.0/20")
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        await made(network, "three", subnet=subnet)
    assert len(bridges()) == 2


async def test_no_network_holds_a_name_server_of_the_machine(network: LocalNetwork) -> None:
    network._servers = ("10.9.9.9", "172.17.0.53", "fd00::53")
    with pytest.raises(Forbidden, match=r"10\.9\.9\.9/32"):
        await made(network, "names", subnet="10.9.0.0/16")
    chosen = await made(network, "free")
    assert ipaddress.ip_address("172.17.0.53") not in ipaddress.ip_network(chosen.spec.subnet)


@pytest.mark.parametrize(
    "wishes",
    [
        {"subnet": "10.1.0.1/24"},
        {"subnet": "10.1.0.0/30"},
        {"subnet": "10.0.0.0/7"},
        {"subnet": "fd00::/64"},
        {"subnet": "10.1.0.0/24 } accept"},
        {"subnet": "127.0.0.0/16"},
        {"subnet": "224.0.0.0/16"},
        {"subnet": "169.254.0.0/16"},
        {"subnet": "10.1.0.0/24", "gateway": "10.1.1.1"},
        {"subnet": "10.1.0.0/24", "gateway": "10.1.0.0"},
        {"subnet": "10.1.0.0/24", "gateway": "10.1.0.255"},
        {"subnet": "10.1.0.0/24", "gateway": "x"},
        {"subnet": "10.1.0.0/24", "ip_range": "10.1.1.0/28"},
        {"subnet": "10.1.0.0/24", "ip_range": "10.0.0.0/8"},
        {"subnet": "10.1.0.0/24", "reserved": ("10.2.0.1",)},
        {"mtu": 67},
        {"mtu": 1501},
    ],
)
async def test_what_cannot_be_a_network_is_refused_and_leaves_nothing(
    network: LocalNetwork, wishes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument):
        await made(network, "odd", **wishes)
    assert bridges() == set() and set(network.networks) == {BRIDGE, NONE}


async def test_addresses_come_of_the_range_and_none_is_given_twice(network: LocalNetwork) -> None:
    wishes = {"subnet": "10.1.0.0/24", "gateway": "10.1.0.66", "ip_range": "10.1.0.64/29", "reserved": ("10.1.0.65",)}
    record = await made(network, "small", **wishes)
    ports = [await network.allocate(new_id(), "t", (Wish(record.id),)) for _ in range(6)]
    assert [at(port).address for port in ports] == [f"10.1.0.{n}/24" for n in (64, 67, 68, 69, 70, 71)]
    with pytest.raises(Conflict, match="full"):
        await network.allocate(new_id(), "t", (Wish(record.id),))
    chosen = await network.allocate(new_id(), "t", (Wish(record.id, address="10.1.0.7"),))
    assert at(chosen).address == "10.1.0.7/24"
    for taken in ("10.1.0.7", "10.1.0.66", "10.1.0.65"):
        with pytest.raises(Forbidden, match="already in use"):
            await network.allocate(new_id(), "t", (Wish(record.id, address=taken),))
    for outside in ("10.1.1.7", "10.1.0.0", "10.1.0.255"):
        with pytest.raises(InvalidArgument, match="no configured subnet"):
            await network.allocate(new_id(), "t", (Wish(record.id, address=outside),))
    await network.release(ports[2].id)
    assert at(await network.allocate(new_id(), "t", (Wish(record.id),))).address == at(ports[2]).address


async def test_a_mac_is_one_containers_on_a_network(network: LocalNetwork, pair: tuple[NetworkRecord, ...]) -> None:
    mac = "02:00:00:00:00:01"
    first = await network.allocate(new_id(), "t", (Wish(pair[0].id, mac=mac),))
    assert at(first).mac == mac
    with pytest.raises(Forbidden, match="MAC"):
        await network.allocate(new_id(), "t", (Wish(pair[0].id, mac=mac),))
    await network.allocate(new_id(), "t", (Wish(pair[1].id, mac=mac),))
    for odd in ("03:00:00:00:00:01", "00:00:00:00:00:00", "02:00", "02:00:00:00:00:01 } accept"):
        with pytest.raises(InvalidArgument, match="MAC"):
            await network.allocate(new_id(), "t", (Wish(pair[0].id, mac=odd),))


async def test_a_network_of_another_tenant_is_not_there(network: LocalNetwork) -> None:
    record = await made(network, "mine")
    with pytest.raises(NotFound):
        await network.allocate(new_id(), "another", (Wish(record.id),))
    port = await network.allocate(new_id(), "another", (Wish(BRIDGE),))
    await network.disconnect(port.id, BRIDGE)
    with pytest.raises(NotFound):
        await network.connect(port.id, Wish(record.id))


async def test_no_frame_and_no_packet_passes_between_two_networks(
    network: LocalNetwork, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    one, near = [await guest(network, pair[0]) for _ in range(2)]
    far = await guest(network, pair[1])
    try:
        one.arp_who_has(near.ip)
        assert await near.receives(one.ip + bytes(6) + near.ip)
        gateway = b"\x02\x42" + one.gateway
        routed = udp(one.ip, far.ip, 1000, 1000, b"<routed>")
        one.send(gateway + one.mac + b"\x08\x00" + routed)
        one.send(frame(one, far, udp(one.ip, far.ip, 1000, 1000, b"<bridged>")))
        one.arp_who_has(far.ip)
        one.send(gateway + one.mac + b"\x08\x00" + udp(one.ip, far.gateway, 1000, 53, b"<its name server>"))
        await received(one, near)  # so what was sent before has been dealt with
        assert not await far.receives(b"<", 0.3)
        forged = [
            frame(one, near, udp(far.ip, near.ip, 1000, 1000, b"<address>")),
            frame(one, near, udp(one.ip, near.ip, 1000, 1000, b"<mac>"), far.mac),
        ]
        assert await received(one, near, *forged) == set()
    finally:
        for each in (one, near, far):
            os.close(each.tap)


async def test_a_port_that_moves_takes_nothing_along(
    network: LocalNetwork, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    one, left, found = await guest(network, pair[0]), await guest(network, pair[0]), await guest(network, pair[1])
    ident, before = one.port.id, at(one.port)
    try:
        await network.publish(ident, (PublishedPort(80, "tcp", ANY, 18080),))
        assert (await network.disconnect(ident, pair[0].id)).places == ()
        assert before.mac not in rules() and "18080" not in rules()
        one.arp_who_has(left.ip)
        moved = Guest(await network.connect(ident, Wish(pair[1].id)), one.tap)
        one.arp_who_has(left.ip)
        one.arp_who_has(found.ip)
        moved.arp_who_has(found.ip)
        assert await found.receives(moved.ip + bytes(6) + found.ip)
        assert not await left.receives(one.ip, 0.3) and not await found.receives(one.ip, 0.3)
        assert at(await network.allocate(new_id(), "t", (Wish(pair[0].id, address=before.address[:-3]),)))
        assert network.port(ident) == moved.port
    finally:
        for each in (one, left, found):
            os.close(each.tap)


def neighbour(each: Guest, address: bytes, record: NetworkRecord) -> None:
    """Let the host know where *each* is by this address: it answers no questions."""
    told = ["lladdr", at_home(each).mac, "dev", record.bridge]
    subprocess.run(["ip", "neigh", "replace", socket.inet_ntoa(address), *told], check=True)


async def test_from_an_internal_network_nobody_asks_for_names_but_there(network: LocalNetwork) -> None:
    """Even of one that no daemon knows by name yet, or any more, whose questions would be passed on."""
    inside, outside = await made(network, "in", internal=True), await made(network, "out")
    asked: list[str] = []

    def note(client: str, query: bytes) -> bytes:
        asked.append(client)
        return failure(query)

    network._dns[BRIDGE]._known = network._dns[inside.id]._known = note
    query = b"\x12\x34" + b"\x01\x00\x00\x01" + bytes(6) + b"\x01a\0\x00\x01\x00\x01"
    free = await guest(network, outside)
    port = await network.allocate(new_id(), "t", (Wish(inside.id),))
    place = replace(at(port), gateway=inside.spec.gateway)
    closed = Guest(replace(port, places=(place,)), await network.open_tap(port.id))
    try:
        for each, record in ((closed, inside), (free, outside)):
            neighbour(each, each.ip, record)
            for server in (socket.inet_aton("172.30.0.1"), closed.gateway):
                to_host = b"\x02\x42" + each.gateway + each.mac + b"\x08\x00"
                each.send(to_host + udp(each.ip, server, 1000, 53, query))
        assert await free.receives(b"\x12\x34\x81") and await closed.receives(b"\x12\x34\x81")
        assert not await closed.receives(b"\x12\x34\x81", 0.2)
        assert sorted(asked) == sorted(socket.inet_ntoa(each.ip) for each in (closed, free))
    finally:
        os.close(closed.tap)
        os.close(free.tap)


def at_home(each: Guest) -> Place:
    return each.port.places[0]


async def test_a_container_is_on_several_networks_and_nothing_else_passes_between_them(
    network: LocalNetwork, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    """`both` is at home on the one and a visitor on the two; `one` and `two` are on one each."""
    one, two = [await guest(network, record) for record in pair]
    port = await network.allocate(new_id(), "t", tuple(Wish(record.id) for record in pair))
    assert [place.name for place in port.places] == ["one", "two"] and len({place.mac for place in port.places}) == 1
    both = Guest(replace(port, places=port.places[:1]), await network.open_tap(port.id))
    there = socket.inet_aton(port.places[1].address.partition("/")[0])
    neighbour(two, two.ip, pair[1])
    neighbour(one, one.ip, pair[0])
    for address in (both.ip, there):
        neighbour(both, address, pair[0])
    gates = [b"\x02\x42" + each.gateway for each in (one, two)]
    try:
        two.arp_who_has(there)
        assert await two.receives(gates[1] + there + two.mac + two.ip), "the host says that it lives there"
        two.send(gates[1] + two.mac + b"\x08\x00" + udp(two.ip, there, 1000, 1000, b"<to the visitor>"))
        assert await both.receives(b"<to the visitor>")
        both.send(gates[0] + both.mac + b"\x08\x00" + udp(there, two.ip, 1000, 1000, b"<from the visitor>"))
        assert await two.receives(b"<from the visitor>")
        both.send(gates[0] + both.mac + b"\x08\x00" + udp(both.ip, two.ip, 1000, 1000, b"<of its home>"))
        one.send(gates[0] + one.mac + b"\x08\x00" + udp(one.ip, two.ip, 1000, 1000, b"<a neighbour's>"))
        one.send(gates[0] + one.mac + b"\x08\x00" + udp(there, two.ip, 1000, 1000, b"<forged>"))
        two.send(gates[1] + two.mac + b"\x08\x00" + udp(two.ip, both.ip, 1000, 1000, b"<to its home>"))
        one.send(frame(one, both, udp(one.ip, two.ip, 2000, 2000, b"<what would be answered, on its own bridge>")))
        two.send(gates[1] + two.mac + b"\x08\x00" + udp(two.ip, one.ip, 2000, 2000, b"<to a neighbour>"))
        assert not await two.receives(b"<", 0.3)
        assert not await both.receives(b"<to its home>", 0.3) and not await one.receives(b"<to a neighbour>", 0.3)

        left = await network.disconnect(port.id, pair[1].id)
        assert left.places == port.places[:1] and socket.inet_ntoa(there) not in rules() + ways()
        two.send(gates[1] + two.mac + b"\x08\x00" + udp(two.ip, there, 1000, 1000, b"<to nobody>"))
        both.send(gates[0] + both.mac + b"\x08\x00" + udp(there, two.ip, 1000, 1000, b"<of nobody>"))
        assert not await both.receives(b"<to nobody>", 0.3) and not await two.receives(b"<of nobody>", 0.3)
    finally:
        for each in (one, two, both):
            os.close(each.tap)


async def test_a_container_at_home_on_the_default_network_finds_its_neighbours_on_another(
    network: LocalNetwork, pair: tuple[NetworkRecord, ...]
) -> None:
    """It asks from its home's address."""

    def known(asker: str, name: str) -> bool:
        return answer(network._names, asker, dns.message.make_query(name, "A").to_wire()) is not None

    one, two = new_id(), new_id()
    address = at(await network.allocate(one, "t", (Wish(BRIDGE),))).address.partition("/")[0]
    await network.allocate(two, "t", (Wish(pair[0].id),))
    network.announce(one, ("one",))
    network.announce(two, ("two",))
    assert not known(address, "two") and not known(address, "one")
    await network.connect(one, Wish(pair[0].id))
    assert known(address, "two") and known(address, "one")
    await network.disconnect(one, pair[0].id)
    assert not known(address, "two")


def ways() -> str:
    return subprocess.run(["ip", "route"], check=True, capture_output=True, text=True).stdout


async def test_a_home_that_is_left_is_followed_by_the_next(
    network: LocalNetwork, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    inner = await made(network, "inner", internal=True)
    port = await network.allocate(new_id(), "t", (Wish(inner.id), Wish(pair[0].id), Wish(pair[1].id)))
    tap = await network.open_tap(port.id)
    try:
        assert port.main is not None and port.main.name == "one" and port.name_servers == (network.gateway,)
        await network.publish(port.id, (PublishedPort(80, "tcp", ANY, 18080),))
        before = await network.disconnect(port.id, pair[1].id)
        assert before.published and "18080" in rules(), "what leads to another network stays"
        after = await network.disconnect(port.id, pair[0].id)
        assert after.main is not None and after.main.name == "inner" and not after.published
        assert after.name_servers == (inner.spec.gateway,) and "18080" not in rules()
        shown = subprocess.run(
            ["ip", "-o", "link", "show", tap_name(OWN, port.id)], check=True, capture_output=True, text=True
        )
        assert f"master {inner.bridge}" in shown.stdout
        again = await network.connect(port.id, Wish(pair[1].id))
        assert (
            again.main is not None
            and again.main.name == "two"
            and inner.spec.subnet not in ways().replace(f"{inner.spec.subnet} dev {inner.bridge}", "")
        )
        await network.release(port.id)
        assert not re.findall(r"^[0-9.]+ dev hb", ways(), re.MULTILINE), "no way to a visitor is left"
    finally:
        os.close(tap)


async def test_a_daemon_killed_while_a_container_came_or_went_is_followed_by_one_that_puts_it_right(
    network: LocalNetwork, config: Config, db: Database, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    stays, goes = [await network.allocate(new_id(), "t", tuple(Wish(r.id) for r in pair)) for _ in range(2)]
    taps = [await network.open_tap(port.id) for port in (stays, goes)]

    def die(name: str) -> None:
        if name in ("connect-recorded", "disconnect-recorded"):
            raise Killed

    try:
        crash.set_hook(die)
        with pytest.raises(Killed):
            await network.disconnect(goes.id, pair[1].id)
        await network.close()
    finally:
        crash.set_hook(None)
    again = await open_network(config, db)
    await again.start()
    network._nft, network._dns = again._nft, again._dns
    await again.reconcile({stays.id, goes.id})
    assert again.port(stays.id) == stays and again.port(goes.id).places == goes.places[:1]
    there = [port.places[1].address.partition("/")[0] for port in (stays, goes)]
    assert there[0] in ways() and there[0] in rules()
    assert there[1] not in ways() and there[1] not in rules()
    for tap in taps:
        os.close(tap)


async def test_a_visitor_of_the_default_network_keeps_no_daemon_from_its_subnet(
    network: LocalNetwork, config: Config, db: Database, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    port = await network.allocate(new_id(), "t", (Wish(pair[0].id), Wish(BRIDGE)))
    tap = await network.open_tap(port.id)
    try:
        assert port.places[1].address.partition("/")[0] in ways()
        assert (await reopened(network, config, db)).port(port.id) == port
    finally:
        os.close(tap)


async def test_what_cannot_be_had_on_several_networks_is_refused(
    network: LocalNetwork, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    mac = "02:00:00:00:00:01"
    with pytest.raises(Unsupported, match="one card"):
        await network.allocate(new_id(), "t", (Wish(pair[0].id), Wish(pair[1].id, mac=mac)))
    port = await network.allocate(new_id(), "t", (Wish(pair[0].id, mac=mac),))
    with pytest.raises(Unsupported, match="one card"):
        await network.connect(port.id, Wish(pair[1].id, mac=mac))
    with pytest.raises(Forbidden, match="already exists"):
        await network.connect(port.id, Wish(pair[0].id))
    with pytest.raises(NotFound, match="not connected"):
        await network.disconnect(port.id, pair[1].id)
    for number in range(MOST_PLACES - 1):
        await network.connect(port.id, Wish((await made(network, f"n{number}")).id))
    with pytest.raises(InvalidArgument, match="16 networks"):
        await network.connect(port.id, Wish(pair[1].id))


async def test_a_network_is_removed_when_nobody_is_on_it(
    network: LocalNetwork, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    port = await network.allocate(new_id(), "t", (Wish(pair[0].id),))
    with pytest.raises(Forbidden, match=f"network one has active endpoints \\({port.id[:12]}\\)"):
        await network.remove_network(pair[0].id)
    await network.release(port.id)
    for _ in range(2):
        await network.remove_network(pair[0].id)
    assert bridges() == {pair[1].bridge} and pair[0].bridge not in rules()
    with pytest.raises(NotFound):
        await network.allocate(new_id(), "t", (Wish(pair[0].id),))
    for built_in in (BRIDGE, NONE):
        with pytest.raises(Forbidden, match="pre-defined"):
            await network.remove_network(built_in)
    with pytest.raises(Conflict, match="network with name two already exists"):
        await made(network, "two")
    await network.create_network(NetworkSpec("another", "two"))


class Killed(BaseException):
    """What no code of the daemon's survives."""


CREATE = ["network-begin", "network-admitted", "network-opened"]


@pytest.mark.parametrize("step", [*CREATE, "network-recorded", "network-remove", "network-deleted"])
async def test_a_daemon_killed_while_it_made_or_removed_a_network_leaves_none_or_all_of_it(
    network: LocalNetwork, config: Config, db: Database, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    kept = await made(network, "kept")

    def die(name: str) -> None:
        if name == step:
            raise Killed

    async def nothing(record: NetworkRecord) -> None:
        """The dead tidy nothing up."""

    with monkeypatch.context() as patch:
        patch.setattr(crash, "_hook", die)
        patch.setattr(network, "_unmake", nothing)
        with pytest.raises(Killed):
            await network.remove_network((await made(network, "torn")).id)
    again = await reopened(network, config, db)
    names = {record.spec.name for record in again.networks.values()}
    whole = {"torn"} if step in ("network-recorded", "network-remove") else set()
    assert names == {"bridge", "none", "kept"} | whole
    assert bridges() == {record.bridge for record in again.networks.values() if not record.built_in}
    assert set(re.findall(r'"(hb[0-9a-f]{13})"', rules())) == bridges() >= {kept.bridge}
    if not whole:
        assert (await made(again, "torn")).spec.subnet == "172.17.0.0/16", "its subnet is free again"


async def test_a_successor_puts_networks_right_and_keeps_what_flows(
    network: LocalNetwork, config: Config, db: Database, pair: tuple[NetworkRecord, NetworkRecord]
) -> None:
    one, two = [await guest(network, pair[0]) for _ in range(2)]
    internal = await made(network, "in", internal=True)
    await network.close()
    subprocess.run(["ip", "link", "delete", pair[0].bridge], check=True)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    again = await open_network(config, db)
    await again.start()
    network._nft, network._dns = again._nft, again._dns
    try:
        await again.reconcile({one.port.id, two.port.id})
        assert again.port(one.port.id) == one.port
        one.arp_who_has(two.ip)
        assert await two.receives(one.ip + bytes(6) + two.ip)
        assert again.networks[internal.id] == internal
    finally:
        os.close(one.tap)
        os.close(two.tap)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE networks SET spec = '{' WHERE id = ?",
        "UPDATE networks SET spec = replace(spec, '172.16', '999.16') WHERE id = ?",
        "UPDATE networks SET spec = replace(spec, '172.16.0.1', '172.16.0.0') WHERE id = ?",
        "UPDATE networks SET name = 'another' WHERE id = ?",
        "UPDATE networks SET created_ns = 'once' WHERE id = ?",
        "UPDATE networks SET spec = x'ff' WHERE id = ?",
    ],
)
async def test_a_network_that_cannot_be_read_is_left_out_and_the_others_are_as_they_were(
    network: LocalNetwork, config: Config, db: Database, sql: str, caplog: pytest.LogCaptureFixture
) -> None:
    torn, whole = await made(network, "torn"), await made(network, "whole")
    lost, kept = [await network.allocate(new_id(), "t", (Wish(record.id),)) for record in (torn, whole)]
    await db.run(lambda tx: tx.execute(sql, (torn.id,)) and None)
    again = await reopened(network, config, db)
    assert "cannot be read" in caplog.text
    assert torn.id not in again.networks and again.networks[whole.id] == whole
    assert again.port(kept.id) == kept
    with pytest.raises(Conflict, match="cannot be read"):
        again.port(lost.id)
    assert bridges() == {torn.bridge, whole.bridge}, "what may be mended is not taken away"


async def test_ports_of_an_earlier_database_keep_their_addresses(config: Config, tmp_path: Path) -> None:
    old, ident = tmp_path / "old", new_id()
    folder = Path(links.__file__).parent / "migrations"
    with sqlite3.connect(old) as tx:
        tx.executescript((folder / "0001_ports.sql").read_text())
        tx.execute("CREATE TABLE migrations (room TEXT, number INTEGER, PRIMARY KEY (room, number))")
        tx.execute("INSERT INTO migrations VALUES ('network', 1)")
        tx.execute("INSERT INTO network_ports VALUES (?, 't', 'bridge', '02:42:ac:1e:00:09', '172.30.0.9')", (ident,))
        tx.execute("INSERT INTO network_ports VALUES (?, 't', 'none', '02:42:01:02:03:04', '')", (ident[::-1],))
        tx.execute("INSERT INTO network_published VALUES (?, 'tcp', '0.0.0.0', 18080, 80)", (ident,))
    db = await Database.open(old)
    network = await open_network(config, db)
    try:
        await network.start()
        port = network.port(ident)
        assert (at(port).network, at(port).address, at(port).mac) == (BRIDGE, "172.30.0.9/24", "02:42:ac:1e:00:09")
        assert port.published == (PublishedPort(80, "tcp", ANY, 18080),)
        assert at(network.port(ident[::-1])).network == NONE
    finally:
        await network.destroy()
        await network.close()
        await db.close()


def test_names_of_bridges_are_those_of_one_daemon_and_fit() -> None:
    names = {bridge_name(own, new_id()) for own in (OWN, "hypercell0") for _ in range(100)}
    assert len(names) == 200 and {len(name) for name in names} == {15}
    assert not names & {tap_name(OWN, new_id()) for _ in range(100)}


async def test_a_bridge_of_another_daemon_is_left_alone(network: LocalNetwork, config: Config, db: Database) -> None:
    other = bridge_name("other0", new_id())
    links.ensure_bridge(other, "10.9.0.1", "255.255.255.0")
    try:
        await reopened(network, config, db)
        assert links.exists(other)
        strange = replace(config, bridge="other0", subnet="172.29.0.0/24", root=config.root / "other")
        strange.root.mkdir()
        database = await Database.open(strange.database)
        owner = await open_network(strange, database)
        await owner.start()
        assert not links.exists(other), "its own daemon removes it, as it is of no network"
        await owner.destroy()
        await owner.close()
        await database.close()
    finally:
        links.delete_bridge(other)
