# SPDX-License-Identifier: Apache-2.0
"""The local network with real taps, bridge, nftables and packets; namespaces stand in for VMs."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypercell.backends.network import LocalNetwork, open_network
from hypercell.backends.network.rules import tap_name
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import Conflict, InvalidArgument, NotFound
from hypercell.base.ids import new_id
from hypercell.node.network import BRIDGE, NONE, Place, Port, PublishedPort, Wish
from tests.support.namespaces import Host

ANY = "0.0.0.0"


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "db")
    yield database
    await database.close()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return replace(Config(), root=tmp_path, run=tmp_path, bridge="hctest0", subnet="172.30.0.0/24", dns=("192.0.2.53",))


@pytest.fixture
async def network(config: Config, db: Database) -> AsyncIterator[LocalNetwork]:
    opened = await open_network(config, db)
    await opened.start()
    yield opened
    await opened.close()
    again = await open_network(config, db)
    await again.destroy()
    await again._nft.close()


def rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


def at(port: Port) -> Place:
    """Its only place."""
    (place,) = port.places
    return place


class Guest:
    """Stands in for a VM: speaks on a tap by hand, frame by frame, through its descriptor."""

    def __init__(self, port: Port, tap: int) -> None:
        self.port, self.tap = port, tap
        place = at(port)
        self.mac = bytes.fromhex(place.mac.replace(":", ""))
        self.ip = socket.inet_aton(place.address.partition("/")[0])
        self.gateway = socket.inet_aton(place.gateway)

    def send(self, frame: bytes) -> None:
        os.write(self.tap, bytes(10) + frame)

    def arp_who_has(self, target: bytes, mac: bytes | None = None, ip: bytes | None = None) -> None:
        sender = mac or self.mac
        self.send(
            b"\xff" * 6
            + sender
            + b"\x08\x06"
            + b"\x00\x01\x08\x00\x06\x04\x00\x01"
            + sender
            + (ip or self.ip)
            + bytes(6)
            + target
        )

    async def receives(self, wanted: bytes, seconds: float = 1.0) -> bool:
        """True once a frame that contains *wanted* came."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            try:
                if wanted in os.read(self.tap, 65536):
                    return True
            except BlockingIOError:
                await asyncio.sleep(0.01)
        return False


async def guest(network: LocalNetwork, kind: str = BRIDGE) -> Guest:
    port = await network.allocate(new_id(), "default", (Wish(kind),))
    return Guest(port, await network.open_tap(port.id))


async def test_every_port_has_an_address_of_its_own_and_keeps_it(
    network: LocalNetwork, config: Config, db: Database
) -> None:
    ports = [await network.allocate(new_id(), "default", (Wish(BRIDGE),)) for _ in range(5)]
    assert len({at(port).address for port in ports}) == 5
    assert len({at(port).mac for port in ports}) == 5
    assert await network.allocate(ports[0].id, "default", (Wish(BRIDGE),)) == ports[0]
    assert all(at(port).gateway == "172.30.0.1" and port.name_servers == ("172.30.0.1",) for port in ports)
    await network.close()
    returned = await open_network(config, db)
    await returned.start()
    assert await returned.allocate(ports[3].id, "default", (Wish(BRIDGE),)) == ports[3]
    fresh = await returned.allocate(new_id(), "default", (Wish(BRIDGE),))
    assert at(fresh).address not in {at(port).address for port in ports}
    network._nft, network._dns = returned._nft, returned._dns


async def test_a_full_subnet_is_a_conflict_and_a_release_makes_room(network: LocalNetwork) -> None:
    ports = [await network.allocate(new_id(), "default", (Wish(BRIDGE),)) for _ in range(253)]
    with pytest.raises(Conflict, match="full"):
        await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    await network.release(ports[7].id)
    assert at(await network.allocate(new_id(), "default", (Wish(BRIDGE),))) == at(ports[7])


async def test_the_host_answers_arp_of_a_container_but_not_of_a_liar(network: LocalNetwork) -> None:
    one = await guest(network)
    two = await guest(network)
    try:
        one.arp_who_has(one.gateway)
        assert await one.receives(b"\x06\x04\x00\x02"), "no answer to an honest question"
        one.arp_who_has(one.gateway, ip=two.ip)
        one.arp_who_has(one.gateway, mac=two.mac)
        one.arp_who_has(two.ip, ip=one.gateway)
        assert not await two.receives(one.gateway + bytes(6), 0.3), "a forged question reached another container"
        one.arp_who_has(two.ip)
        assert await two.receives(one.ip + bytes(6) + two.ip), "an honest question did not"
    finally:
        os.close(one.tap)
        os.close(two.tap)


async def test_ipv6_vlan_and_dhcp_answers_never_leave_a_container(network: LocalNetwork) -> None:
    one, two = await guest(network), await guest(network)
    try:
        for ether_type in (b"\x86\xdd", b"\x81\x00\x00\x01\x08\x00", b"\x88\xa8\x00\x01\x08\x00"):
            one.send(b"\xff" * 6 + one.mac + ether_type + b"FORGED" * 10)
        assert not await two.receives(b"FORGED", 0.3)
    finally:
        os.close(one.tap)
        os.close(two.tap)


async def test_a_tap_ends_with_its_last_descriptor(network: LocalNetwork) -> None:
    one = await guest(network)
    name = tap_name("hctest0", one.port.id)
    assert subprocess.run(["ip", "link", "show", name], check=False, capture_output=True).returncode == 0
    os.close(one.tap)
    assert subprocess.run(["ip", "link", "show", name], check=False, capture_output=True).returncode != 0


async def test_network_none_is_a_tap_on_no_bridge(network: LocalNetwork) -> None:
    one = await guest_none(network)
    try:
        shown = subprocess.run(
            ["ip", "-o", "link", "show", tap_name("hctest0", one[0].id)], check=True, capture_output=True, text=True
        )
        assert "master" not in shown.stdout
        assert at(one[0]).address == ""
        with pytest.raises(InvalidArgument):
            await network.publish(one[0].id, (PublishedPort(80, "tcp", ANY, 8080),))
    finally:
        os.close(one[1])


async def guest_none(network: LocalNetwork) -> tuple[Port, int]:
    port = await network.allocate(new_id(), "default", (Wish(NONE),))
    return port, await network.open_tap(port.id)


async def test_an_unknown_network_is_not_found(network: LocalNetwork) -> None:
    with pytest.raises(NotFound):
        await network.allocate(new_id(), "default", (Wish("blue"),))


async def test_a_host_port_is_taken_once(network: LocalNetwork) -> None:
    ports = [await network.allocate(new_id(), "default", (Wish(BRIDGE),)) for _ in range(2)]
    wanted = (PublishedPort(80, "tcp", ANY, 18080), PublishedPort(80, "udp", ANY, 18080))
    assert await network.publish(ports[0].id, wanted) == wanted
    for address in (ANY, "127.0.0.1"):
        with pytest.raises(Conflict, match="port is already allocated"):
            await network.publish(ports[1].id, (PublishedPort(80, "tcp", address, 18080),))
    with pytest.raises(Conflict):
        await network.publish(ports[1].id, (PublishedPort(80, "tcp", ANY, 18081), PublishedPort(81, "tcp", ANY, 18081)))
    await network.unpublish(ports[0].id)
    assert "18080" not in rules()
    await network.publish(ports[1].id, wanted)


async def test_a_port_that_a_program_of_the_host_uses_is_refused(network: LocalNetwork) -> None:
    port = await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with pytest.raises(Conflict):
            await network.publish(port.id, (PublishedPort(80, "tcp", ANY, number),))


async def test_host_port_zero_means_choose_one(network: LocalNetwork) -> None:
    port = await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    published = await network.publish(port.id, tuple(PublishedPort(n, "tcp", ANY, 0) for n in range(1, 6)))
    numbers = {entry.host_port for entry in published}
    assert len(numbers) == 5
    assert min(numbers) >= 49153


async def test_100_callers_for_one_host_port_have_one_winner(network: LocalNetwork) -> None:
    ports = [await network.allocate(new_id(), "default", (Wish(BRIDGE),)) for _ in range(100)]
    results = await asyncio.gather(
        *(network.publish(port.id, (PublishedPort(80, "tcp", ANY, 28080),)) for port in ports), return_exceptions=True
    )
    assert sum(not isinstance(result, Conflict) for result in results) == 1


async def test_rules_that_somebody_flushed_come_back(network: LocalNetwork) -> None:
    port = await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    await network.publish(port.id, (PublishedPort(80, "tcp", ANY, 18080),))
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    await network.reconcile({port.id})
    assert "18080" in rules()


async def test_containers_start_after_somebody_flushed_the_rules(network: LocalNetwork) -> None:
    before = await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    one = await guest(network)
    try:
        assert at(one.port).mac in rules() and at(before).mac in rules()
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        await network.publish(one.port.id, (PublishedPort(80, "tcp", ANY, 18080),))
        assert "18080" in rules() and at(one.port).mac in rules()
    finally:
        os.close(one.tap)


async def test_a_bridge_that_somebody_deleted_comes_back_with_its_containers(
    network: LocalNetwork, config: Config, db: Database
) -> None:
    one, two = await guest(network), await guest(network)
    try:
        await network.close()
        subprocess.run(["ip", "link", "delete", "hctest0"], check=True)
        returned = await open_network(config, db)
        await returned.start()
        network._nft, network._dns = returned._nft, returned._dns
        await returned.reconcile({one.port.id, two.port.id})
        one.arp_who_has(two.ip)
        assert await two.receives(one.ip + bytes(6) + two.ip), "they do not reach each other over the new bridge"
    finally:
        os.close(one.tap)
        os.close(two.tap)


async def broken_off(work: Coroutine[Any, Any, Any], turns: int) -> None:
    """Cancel *work* after so many turns of the event loop."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_a_port_whose_allocation_was_broken_off_can_be_released(
    network: LocalNetwork, db: Database, turns: int
) -> None:
    ident = new_id()
    await broken_off(network.allocate(ident, "default", (Wish(BRIDGE),)), turns)
    await network.release(ident)
    assert await db.run(lambda tx: tx.execute("SELECT * FROM network_ports").fetchall()) == []


@pytest.mark.parametrize("turns", range(1, 8))
async def test_a_host_port_whose_publishing_was_broken_off_is_free_again(network: LocalNetwork, turns: int) -> None:
    one, two = [await network.allocate(new_id(), "default", (Wish(BRIDGE),)) for _ in range(2)]
    wanted = (PublishedPort(80, "tcp", ANY, 18080),)
    await broken_off(network.publish(one.id, wanted), turns)
    await network.unpublish(one.id)
    assert await network.publish(two.id, wanted) == wanted


async def test_reconcile_releases_what_belongs_to_nobody(network: LocalNetwork) -> None:
    keep, lose = [await network.allocate(new_id(), "default", (Wish(BRIDGE),)) for _ in range(2)]
    await network.publish(lose.id, (PublishedPort(80, "tcp", ANY, 18080),))
    await network.reconcile({keep.id})
    text = rules()
    assert "18080" not in text
    assert at(lose).mac not in text
    assert at(keep).mac in text


async def test_releasing_twice_or_nothing_is_no_error(network: LocalNetwork) -> None:
    port = await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    await network.release(port.id)
    await network.release(port.id)
    await network.unpublish(port.id)
    await network.release(new_id())


async def test_nothing_is_left_after_destroy(config: Config, db: Database) -> None:
    network = await open_network(config, db)
    await network.start()
    await network.close()
    again = await open_network(config, db)
    await again.destroy()
    await again._nft.close()
    assert "hctest0" not in rules()
    assert subprocess.run(["ip", "link", "show", "hctest0"], check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize("subnet", ["172.30.0.0/24", "172.31.0.0/24"])
async def test_a_second_daemon_on_a_bridge_is_refused_and_the_first_goes_on(
    config: Config, network: LocalNetwork, tmp_path: Path, subnet: str
) -> None:
    port = await network.allocate(new_id(), "default", (Wish(BRIDGE),))
    os.close(await network.open_tap(port.id))
    await network.publish(port.id, (PublishedPort(80, "tcp", "127.0.0.1", 0),))
    before = rules()
    assert at(port).address.partition("/")[0] in before
    other = await Database.open(tmp_path / "other")
    second = await open_network(replace(config, subnet=subnet), other)
    with pytest.raises(Conflict, match=r"hctest0|172\.30\.0\.1:53") as refused:
        await second.start()
    assert "bridge" in refused.value.hint
    await second.close()
    await other.close()
    assert rules() == before
    addresses = subprocess.run(
        ["ip", "-4", "-o", "addr", "show", "hctest0"], check=True, capture_output=True, text=True
    )
    assert addresses.stdout.count("inet ") == 1 and "172.30.0.1/24" in addresses.stdout


async def test_a_subnet_that_overlaps_a_route_of_the_machine_is_refused(config: Config, db: Database) -> None:
    with Host("peer", "172.30.0.9", "172.30.0.10"):
        network = await open_network(config, db)
        with pytest.raises(InvalidArgument, match="overlaps"):
            await network.start()
        await network._nft.close()


@pytest.mark.parametrize("subnet", ["nonsense", "172.16.0.1/16", "10.0.0.0/31", "0.0.0.0/0"])
async def test_a_subnet_that_cannot_be_is_refused(config: Config, db: Database, subnet: str) -> None:
    with pytest.raises(InvalidArgument):
        await open_network(replace(config, subnet=subnet), db)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE network_places SET address = 'nowhere' WHERE port_id = ?",
        "UPDATE network_places SET address = '' WHERE port_id = ?",
        "UPDATE network_places SET address = x'00' WHERE port_id = ?",
        "UPDATE network_places SET address = '172.30.0.2', mac = '02:42:ac:1e:00:02' WHERE port_id = ?",
        "UPDATE network_places SET mac = '00:00:00:00:00:00 } accept' WHERE port_id = ?",
        "UPDATE network_places SET mac = CAST(x'ff' AS TEXT) WHERE port_id = ?",
        "UPDATE network_places SET network = 'elsewhere' WHERE port_id = ?",
        "UPDATE network_places SET wish = '{' WHERE port_id = ?",
        "UPDATE network_places SET wish = '{}' WHERE port_id = ?",
        "UPDATE network_ports SET tenant = x'ff' WHERE id = ?",
    ],
)
async def test_a_port_that_cannot_be_read_is_refused_and_the_others_are_as_they_were(
    network: LocalNetwork, config: Config, db: Database, sql: str, caplog: pytest.LogCaptureFixture
) -> None:
    torn, other = new_id(), new_id()
    kept = await network.allocate(other, "t", (Wish(BRIDGE),))
    await network.allocate(torn, "t", (Wish(BRIDGE),))
    await network.publish(other, (PublishedPort(80, "tcp", ANY, 0),))
    published = (await network.allocate(other, "t", (Wish(BRIDGE),))).published
    await network.close()
    await db.run(lambda tx: tx.execute(sql, (torn,)) and None)

    again = await open_network(config, db)
    await again.start()
    network._nft, network._dns = again._nft, again._dns
    await again.reconcile({torn, other})
    assert await again.allocate(other, "t", (Wish(BRIDGE),)) == replace(kept, published=published)
    assert torn in caplog.text
    for attempt in (
        again.allocate(torn, "t", (Wish(BRIDGE),)),
        again.open_tap(torn),
        again.publish(torn, (PublishedPort(81, "tcp", ANY, 0),)),
    ):
        with pytest.raises(Conflict, match=r"cannot be read.*remove the container"):
            await attempt
    await again.unpublish(torn)
    await again.release(torn)
    assert at(await again.allocate(torn, "t", (Wish(BRIDGE),))).address


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE network_published SET host_port = 'x' WHERE port_id = ?",
        "UPDATE network_published SET container_port = 70000 WHERE port_id = ?",
        "UPDATE network_published SET protocol = 'tcp }' WHERE port_id = ?",
        "UPDATE network_published SET host_ip = 'here' WHERE port_id = ?",
        "UPDATE network_published SET host_ip = CAST(x'ff' AS TEXT) WHERE port_id = ?",
    ],
)
async def test_a_published_port_that_cannot_be_read_is_withdrawn(
    network: LocalNetwork, config: Config, db: Database, sql: str
) -> None:
    torn, other = new_id(), new_id()
    for ident, number in ((torn, 80), (other, 81)):
        await network.allocate(ident, "t", (Wish(BRIDGE),))
        await network.publish(ident, (PublishedPort(number, "tcp", ANY, 0),))
    await network.close()
    await db.run(lambda tx: tx.execute(sql, (torn,)) and None)

    again = await open_network(config, db)
    await again.start()
    network._nft, network._dns = again._nft, again._dns
    assert (await again.allocate(torn, "t", (Wish(BRIDGE),))).published == ()
    assert [port.container_port for port in (await again.allocate(other, "t", (Wish(BRIDGE),))).published] == [81]
    assert await db.run(lambda tx: tx.execute("SELECT count(*) FROM network_published").fetchone()[0]) == 1
    assert len(await again.publish(torn, (PublishedPort(80, "tcp", ANY, 0),))) == 1
