# SPDX-License-Identifier: Apache-2.0
"""Networks over the Engine API and by our own command, at a daemon whose guests are fake and whose bridges are real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.daemon import Daemon

from .conftest import Client
from .door import IMAGE, Make, client, door, make

__all__ = ["client", "door", "make"]


@pytest.fixture(autouse=True)
async def tidy(client: Client) -> AsyncIterator[None]:
    yield
    for item in (await client.ask("GET", "/containers/json?all=1"))[1]:
        await client.ask("DELETE", f"/containers/{item['Id']}?force=1")
    for item in (await client.ask("GET", "/networks"))[1]:
        await client.ask("DELETE", f"/networks/{item['Id']}")


async def made(client: Client, name: str, **members: Any) -> str:
    status, answer = await client.ask("POST", "/networks/create", {"Name": name, **members})
    assert status == 201, answer
    return str(answer["Id"])


async def test_a_network_is_shown_as_it_was_asked_for(client: Client) -> None:
    config = {"Subnet": "10.8.0.0/24", "Gateway": "10.8.0.9", "AuxiliaryAddresses": {"printer": "10.8.0.8"}}
    options = {"com.docker.network.driver.mtu": "1400", "mine": "x"}
    ident = await made(
        client,
        "front",
        Labels={"a": "b"},
        Options=options,
        Internal=True,
        IPAM={"Driver": "default", "Config": [config]},
    )
    status, shown = await client.ask("GET", "/networks/front")
    assert (status, shown["Id"], shown["Driver"], shown["Internal"]) == (200, ident, "bridge", True)
    assert (shown["Labels"], shown["Options"], shown["IPAM"]["Config"]) == ({"a": "b"}, options, [config])


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"Name": "x", "EnableIPv6": True}, 501),
        ({"Name": "x", "EnableIPv4": False}, 501),
        ({"Name": "x", "Ingress": True}, 501),
        ({"Name": "x", "ConfigOnly": True}, 501),
        ({"Name": "x", "ConfigFrom": {"Network": "y"}}, 501),
        ({"Name": "x", "Scope": "swarm"}, 501),
        ({"Name": "x", "Options": {"com.docker.network.bridge.name": "br7"}}, 501),
        ({"Name": "x", "Options": {"com.docker.network.bridge.enable_icc": "false"}}, 501),
        ({"Name": "x", "Options": {"com.docker.network.driver.mtu": "1e3"}}, 400),
        ({"Name": "x", "Options": {"com.docker.network.bridge.enable_ip_masquerade": "perhaps"}}, 400),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.8.0.0/24"}, {"Subnet": "10.9.0.0/24"}]}}, 501),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}, 400),
        ({"Name": "x", "IPAM": {"Driver": "odd"}}, 404),
        ({"Name": "x", "IPAM": {"Options": {"a": "b"}}}, 501),
        ({"Name": "x", "Driver": "overlay"}, 404),
        ({"Name": "x", "Odd": 1}, 400),
        ({"Name": "x", "Labels": {"a": 1}}, 400),
        ({"Name": "host"}, 403),
        ({}, 400),
    ],
)
async def test_what_cannot_be_had_is_refused_by_name(client: Client, members: dict[str, Any], status: int) -> None:
    answered, answer = await client.ask("POST", "/networks/create", members)
    assert answered == status, answer
    assert [item["Name"] for item in (await client.ask("GET", "/networks"))[1]] == ["bridge", "none"]


async def test_containers_of_several_networks_are_shown_on_each(client: Client, make: Make) -> None:
    front, back = await made(client, "front"), await made(client, "back")
    endpoints = {"front": {"Aliases": ["www"]}, "back": {}}
    body = {"HostConfig": {"NetworkMode": "front"}, "NetworkingConfig": {"EndpointsConfig": endpoints}}
    name = await make("cat", OpenStdin=True, **body)
    assert (await client.ask("POST", f"/containers/{name}/start"))[0] == 204
    shown = (await client.ask("GET", f"/containers/{name}/json"))[1]["NetworkSettings"]
    assert set(shown["Networks"]) == {"front", "back"} and shown["IPAddress"] == ""
    assert shown["Networks"]["front"]["DNSNames"][:2] == [name, "www"]
    listed = (await client.ask("GET", "/containers/json"))[1][0]["NetworkSettings"]["Networks"]
    for network, ident in (("front", front), ("back", back)):
        members = (await client.ask("GET", f"/networks/{network}"))[1]["Containers"]
        place = shown["Networks"][network]
        assert [member["IPv4Address"] for member in members.values()] == [f"{place['IPAddress']}/16"]
        assert place["NetworkID"] == ident and listed[network]["IPAddress"] == place["IPAddress"]
    old = {"Image": IMAGE, **body}
    status, answer = await client.ask("POST", "/v1.43/containers/create", old)
    assert (status, answer["message"]) == (
        400,
        "Container cannot be created with multiple network endpoints: front, back",
    )


async def test_our_command_makes_shows_joins_leaves_and_removes(client: Client, door: Daemon, make: Make) -> None:
    ident = door.hypercell("network", "create", "--subnet", "10.8.0.0/24", "--label", "a=b", "shop").stdout.strip()
    row = json.loads(door.hypercell("network", "ls", "--filter", "label=a", "--format", "json").stdout)
    assert (row["ID"], row["Name"], row["Subnet"]) == (ident[:12], "shop", "10.8.0.0/24")
    assert door.hypercell("network", "ls", "-q", "--no-trunc", "--filter", "name=shop").stdout == f"{ident}\n"
    assert door.hypercell("network", "inspect", "-f", "{{.Id}}", "shop").stdout == f"{ident}\n"
    wishes = ("--network", "shop", "--network-alias", "db", "--ip", "10.8.0.7", "--mac-address", "02:00:00:00:00:07")
    box = door.hypercell("create", *wishes, IMAGE, "cat").stdout.strip()
    (place,) = (await client.ask("GET", f"/containers/{box}/json"))[1]["NetworkSettings"]["Networks"].values()
    assert (place["IPAMConfig"], place["Aliases"]) == ({"IPv4Address": "10.8.0.7"}, ["db"])
    refused = door.hypercell("network", "rm", "shop", check=False)
    assert refused.returncode == 1 and "active endpoints" in refused.stderr
    door.hypercell("network", "disconnect", "shop", box)
    door.hypercell("network", "connect", "--alias", "www", "--ip", "10.8.0.8", "shop", box)
    (place,) = (await client.ask("GET", f"/containers/{box}/json"))[1]["NetworkSettings"]["Networks"].values()
    assert (place["IPAMConfig"], place["Aliases"]) == ({"IPv4Address": "10.8.0.8"}, ["www"])
    door.hypercell("rm", box)
    assert door.hypercell("network", "rm", "shop").stdout == "shop\n"
    assert door.hypercell("network", "rm", "-f", "shop").returncode == 0
    assert door.hypercell("network", "inspect", "shop", check=False).returncode == 1
    door.hypercell("network", "create", "idle")
    assert "idle" in door.hypercell("network", "prune", "-f").stdout
    door.hypercell("network", "create", "idle")
    assert door.hypercell("inspect", "-f", "{{.Name}}", "idle").stdout == "idle\n"
    assert "Deleted Networks:\nidle\n" in door.hypercell("system", "prune", "-f").stdout
