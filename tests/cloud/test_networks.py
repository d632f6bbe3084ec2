# SPDX-License-Identifier: Apache-2.0
"""Networks as a tenant has them: looked up, joined, left, removed, told of; on a machine of fake guests."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from hypercell.base.errors import Forbidden, HypercellError, InvalidArgument, NotFound, Unsupported
from hypercell.cloud.contract import Status, Wish
from hypercell.cloud.contract_networks import NetworkRecord, Networks, NetworkSpec
from hypercell.node.network import BRIDGE, NONE
from tests.support.house import House, T, eventually

OTHER = "another"


def networks(home: House) -> Networks:
    assert home.cloud is not None
    return home.cloud.networks


async def made(home: House, name: str, tenant: str = T, **wishes: Any) -> NetworkRecord:
    return await networks(home).create(tenant, NetworkSpec("", name, **wishes))


async def test_a_network_is_found_by_id_by_name_and_by_a_prefix_of_its_id(home: House) -> None:
    front = await made(home, "front")
    found = networks(home).find
    assert found(T, front.id) == found(T, "front") == found(T, front.id[:12]) == front
    assert found(T, "bridge").id == found(T, BRIDGE[:10]).id == BRIDGE and found(T, "none").id == NONE
    named_as_an_id = await made(home, front.id[:12])
    assert found(T, front.id[:12]) == named_as_an_id, "a whole name comes before a part of an id"
    for ref in ("odd", "", "fron", "\x1b[2J" + "x" * 500):
        with pytest.raises(NotFound) as caught:
            found(T, ref)
        assert caught.value.message.isprintable() and len(caught.value.message) < 200


async def test_an_ambiguous_prefix_is_said_to_be_so(home: House) -> None:
    first = [(await made(home, f"n{number}")).id[0] for number in range(40)]
    twice = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(InvalidArgument, match=f"network {twice} is ambiguous"):
        networks(home).find(T, twice)


async def test_nobody_sees_or_touches_another_tenants_network(home: House) -> None:
    mine, theirs = await made(home, "mine"), await made(home, "mine", OTHER)
    assert mine.id != theirs.id
    ident = await home.create("true")
    assert theirs not in networks(home).list(T) and mine not in networks(home).list(OTHER)
    for ref in (theirs.id, theirs.id[:12]):
        for attempt in (
            networks(home).remove(T, ref),
            networks(home).connect(T, ref, ident, Wish("")),
            networks(home).disconnect(T, ref, ident),
        ):
            with pytest.raises(NotFound):
                await attempt
        with pytest.raises(InvalidArgument, match="not found"):
            await home.create("true", network=ref)
    with pytest.raises(NotFound, match="No such container"):
        await networks(home).connect(OTHER, theirs.id, ident, Wish(""))
    assert await networks(home).prune(OTHER, lambda record: False) == ["mine"]
    assert networks(home).find(T, "mine") == mine


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "ä", "x" * 256, "a\n", "a\0"])
async def test_a_name_that_cannot_be_is_refused(home: House, name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await made(home, name)
    assert caught.value.message.isprintable() and len(caught.value.message) < 200


@pytest.mark.parametrize("name", ["bridge", "none", "host", "default"])
async def test_a_built_in_network_is_not_made_again_nor_removed(home: House, name: str) -> None:
    with pytest.raises(Forbidden, match=f"predefined {name} network"):
        await made(home, name)
    if name in ("bridge", "none"):
        with pytest.raises(Forbidden, match="pre-defined"):
            await networks(home).remove(T, name)


async def test_a_container_is_where_it_asked_to_be_and_its_neighbours_know_its_names(home: House) -> None:
    front = await made(home, "front")
    wish = Wish("front", ("www",), "172.17.0.77", "02:00:00:00:00:01")
    ident = await home.run("sleep", "infinity", name="web", hostname="webby", network="front", endpoints=(wish,))
    (place,) = (await home.view(ident)).port.places
    assert (place.network, place.name, place.address, place.mac) == (front.id, "front", "172.17.0.77/16", wish.mac)
    assert home.network.called[ident] == ("web", ident[:12], "webby")
    await home.containers.rename(T, ident, "ui")
    assert home.network.called[ident][0] == "ui"
    await home.reopen()
    assert home.network.called[ident][0] == "ui"
    await home.containers.kill(T, ident)
    assert ident not in home.network.called
    await home.containers.rename(T, ident, "down")
    assert ident not in home.network.called


@pytest.mark.parametrize("network", ["bridge", "none"])
async def test_a_built_in_network_takes_no_wishes(home: House, network: str) -> None:
    for wish in (Wish(network, ("www",)), Wish(network, address="172.16.0.9")):
        with pytest.raises(InvalidArgument, match="supported"):
            await home.create("true", network=network, endpoints=(wish,))


@pytest.mark.parametrize("alias", ["", "a b", "-x", "x" * 254, "a\nb", "ä"])
async def test_an_alias_that_is_no_name_is_refused(home: House, alias: str) -> None:
    await made(home, "front")
    with pytest.raises(InvalidArgument, match="alias"):
        await home.create("true", network="front", endpoints=(Wish("front", (alias,)),))
    assert home.ports() == set()


async def test_a_running_container_moves_and_its_guest_is_told(home: House) -> None:
    front, back = await made(home, "front"), await made(home, "back")
    ident = await home.run("sleep", "infinity", network="front")
    await networks(home).disconnect(T, "front", ident)
    assert (await home.view(ident)).port.places == ()
    await networks(home).connect(T, back.id[:12], ident, Wish("", ("www",)))
    (place,) = (await home.view(ident)).port.places
    assert (place.network, place.wish.aliases) == (back.id, ("www",))
    (told,) = home.machine.guest(ident).configuration["interfaces"]
    assert (told["mac"], told["addresses"], told["gateway"]) == (place.mac, [place.address], place.gateway)
    await networks(home).remove(T, front.id)
    container = home.node.get(ident)
    written = {file["path"]: base64.b64decode(file["data"]).decode() for file in container.record.spec.files}
    assert place.address.removesuffix("/16") in written["/etc/hosts"], "its next start knows where it is"
    await home.reopen()
    assert (await home.view(ident)).port.places == (place,)
    assert home.node.get(ident).record.spec.files == container.record.spec.files


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_move_that_a_killed_daemon_had_begun_is_finished_by_its_successor(home: House, arrives: bool) -> None:
    """It died between the network's books and everything else."""
    front = await made(home, "front")
    ident = await home.run("sleep", "infinity")
    if arrives:
        await home.network.connect(ident, Wish(front.id))
    else:
        await home.network.disconnect(ident, BRIDGE)
    before = home.node.get(ident).record.spec.files
    await home.reopen()

    async def finished() -> bool:
        return home.node.get(ident).record.spec.files != before

    await eventually(finished)
    (told,) = home.machine.guest(ident).configuration["interfaces"]
    places = home.network.ports[ident].places
    assert told["addresses"] == [place.address for place in places] and len(places) == (2 if arrives else 0)
    unmoved = await home.create("true")
    kept = home.node.get(unmoved).record
    await home.reopen()
    assert home.node.get(unmoved).record == kept


async def test_a_move_that_the_guest_does_not_take_part_in_is_taken_back(home: House) -> None:
    await made(home, "front")
    ident = await home.run("sleep", "infinity")
    await networks(home).disconnect(T, "bridge", ident)
    home.machine.guest(ident).faults.errors["network.update"] = ("internal", "it does not want to")
    with pytest.raises(HypercellError):
        await networks(home).connect(T, "front", ident, Wish(""))
    assert (await home.view(ident)).port.places == () == home.network.ports[ident].places


async def test_who_was_made_without_a_network_stays_without(home: House) -> None:
    await made(home, "front")
    ident = await home.create("true", network="none")
    with pytest.raises(Unsupported, match="private"):
        await networks(home).connect(T, "front", ident, Wish(""))
    with pytest.raises(Unsupported, match="private"):
        await networks(home).disconnect(T, "none", ident)
    other = await home.create("true")
    with pytest.raises(Forbidden):
        await networks(home).connect(T, "none", other, Wish(""))


async def test_a_network_goes_as_soon_as_the_last_container_is_removed(home: House) -> None:
    await made(home, "front")
    idents = [await home.run("sleep", "infinity", network="front") for _ in range(3)]
    with pytest.raises(Forbidden, match="active endpoints"):
        await networks(home).remove(T, "front")
    for ident in idents:
        await home.containers.remove(T, ident, force=True)
    await networks(home).remove(T, "front")
    assert [record.spec.name for record in networks(home).list(T)] == ["bridge", "none"]


async def test_prune_removes_what_nobody_uses_or_wants_kept(home: House) -> None:
    for name in ("used", "kept", "idle"):
        await made(home, name)
    await home.create("true", network="used")
    assert await networks(home).prune(T, lambda record: record.spec.name == "kept") == ["idle"]
    assert {record.spec.name for record in networks(home).list(T)} == {"bridge", "none", "used", "kept"}


async def test_what_happens_to_networks_is_told(home: House) -> None:
    assert home.cloud is not None
    events = home.cloud.events.subscribe(T)
    front = await made(home, "front", door={"Labels": {"a": "b"}})
    ident = await home.run("sh", "-c", "exit 0", network="front")
    await home.wait(ident)
    await networks(home).disconnect(T, "front", ident)
    await networks(home).connect(T, "front", ident, Wish(""))
    await home.containers.remove(T, ident)
    await networks(home).remove(T, "front")
    told = []
    while not told or told[-1].action != "destroy" or told[-1].type != "network":
        told.append(await anext(events))
    about = [event for event in told if event.type == "network"]
    expected = ["create", "connect", "disconnect", "disconnect", "connect", "destroy"]
    assert [event.action for event in about] == expected
    assert all(event.actor == front.id and event.attributes["name"] == "front" for event in about)
    assert all(event.attributes["type"] == "bridge" for event in about)
    assert all(event.attributes["container"] == ident for event in about[1:-1])


async def test_a_container_on_a_network_starts_again_with_the_daemon(home: House) -> None:
    await made(home, "front")
    ident = await home.run("sleep", "infinity", network="front")
    before = (await home.view(ident)).port
    await home.reopen()
    assert await home.status(ident) is Status.RUNNING and (await home.view(ident)).port == before
