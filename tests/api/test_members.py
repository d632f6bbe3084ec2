# SPDX-License-Identifier: Apache-2.0
"""docker's modes `container:X` through the Engine API, at a daemon whose guests are fake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hypercell.api.docker.create import parse_create
from hypercell.base.errors import InvalidArgument

from .conftest import Client
from .door import IMAGE, Make, names


async def inspected(client: Client, name: str) -> dict[str, Any]:
    status, answer = await client.ask("GET", f"/containers/{name}/json")
    assert status == 200
    return dict(answer)


async def refused(client: Client, host: dict[str, Any], **config: Any) -> tuple[int, str]:
    body = {"Image": IMAGE, "HostConfig": host, **config}
    status, answer = await client.ask("POST", f"/containers/create?name={next(names)}", body)
    return status, str(answer["message"])


async def test_an_inspection_shows_a_member_as_docker_does(client: Client, make: Make) -> None:
    host = await make("sleep", "9", start=True, host={"IpcMode": "shareable"}, Hostname="box", Domainname="lan")
    modes = dict.fromkeys(("NetworkMode", "PidMode", "IpcMode"), f"container:{host}")
    status, warned = await client.ask("POST", "/containers/create", {"Image": IMAGE, "HostConfig": modes})
    assert status == 201 and "its /dev/shm is its own" in warned["Warnings"][0]
    assert (await client.ask("DELETE", f"/containers/{warned['Id']}"))[0] == 204
    it = await make("sleep", "9", start=True, host=modes)
    other, shown = await inspected(client, host), await inspected(client, it)
    assert {name: shown["HostConfig"][name] for name in modes} == dict.fromkeys(modes, f"container:{other['Id']}")
    assert (shown["Config"]["Hostname"], shown["Config"]["Domainname"]) == ("box", "lan")
    settings = shown["NetworkSettings"]
    assert settings["Networks"] == {} and settings["Ports"] == {} and settings["SandboxID"] == ""
    assert settings["IPAddress"] == settings["MacAddress"] == ""
    assert shown["Hypercell"]["id"] == other["Hypercell"]["id"] == other["Id"]
    listed = {entry["Id"]: entry for entry in (await client.ask("GET", "/containers/json"))[1]}
    assert listed[shown["Id"]]["HostConfig"]["NetworkMode"] == f"container:{other['Id']}"
    assert listed[shown["Id"]]["NetworkSettings"]["Networks"] == {} and listed[shown["Id"]]["Ports"] == []
    bridge = (await client.ask("GET", "/networks/bridge"))[1]["Containers"]
    assert other["Id"] in bridge and shown["Id"] not in bridge


async def test_processes_alone_can_be_joined_and_what_is_to_be_seen_is_still_its_own(
    client: Client, make: Make
) -> None:
    host = await make("sleep", "9", start=True)
    it = await make("sleep", "9", start=True, host={"PidMode": f"container:{host}"}, Hostname="mine")
    shown = await inspected(client, it)
    assert shown["Config"]["Hostname"] == "mine"
    assert shown["HostConfig"]["PidMode"].startswith("container:") and shown["HostConfig"]["IpcMode"] == "private"
    assert shown["NetworkSettings"]["Networks"] == {}


async def test_a_start_without_the_other_is_refused_in_dockers_words(client: Client, make: Make) -> None:
    host = await make("sleep", "9")
    ident = (await inspected(client, host))["Id"]
    it = await make("sleep", "9", host={"NetworkMode": f"container:{host}"})
    status, answer = await client.ask("POST", f"/containers/{it}/start")
    assert status == 409
    assert answer["message"].startswith(f"cannot join network of a non running container: {ident}")
    assert (await inspected(client, it))["State"]["ExitCode"] == 128


async def test_one_that_is_not_there_cannot_be_joined(client: Client) -> None:
    for mode in ("NetworkMode", "PidMode", "IpcMode"):
        status, message = await refused(client, {mode: "container:nobody"})
        assert status == 400 and message.startswith("No such container: nobody")


async def test_an_ipc_namespace_is_joined_only_where_it_is_shareable(client: Client, make: Make) -> None:
    host = await make("sleep", "9")
    ident = (await inspected(client, host))["Id"]
    words = f"container {ident}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
    assert await refused(client, {"IpcMode": f"container:{host}"}) == (400, words)


@pytest.mark.parametrize(
    ("host", "config", "words"),
    [
        ({}, {"Hostname": "x"}, "hostname and the network mode"),
        ({"Dns": ["1.1.1.1"]}, {}, "dns and the network mode"),
        ({"ExtraHosts": ["a:1.2.3.4"]}, {}, "custom host-to-IP mapping and the network mode"),
        ({"PortBindings": {"80/tcp": [{}]}}, {}, "port publishing and the container type network mode"),
        ({"PublishAllPorts": True}, {}, "port publishing and the container type network mode"),
        ({}, {"ExposedPorts": {"80/tcp": {}}}, "port exposing and the container type network mode"),
        ({"Isolation": "cold"}, {}, "isolation and the mode of another container"),
        ({"PidMode": "container:b"}, {}, "the container joins a and b"),
    ],
)
async def test_what_contradicts_the_network_of_another_is_refused_in_dockers_words(
    client: Client, host: dict[str, Any], config: dict[str, Any], words: str
) -> None:
    status, message = await refused(client, {"NetworkMode": "container:a", **host}, **config)
    assert status == 400 and message.startswith(f"conflicting options: {words}")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"PidMode": "container:a", "PortBindings": {"80/tcp": [{}]}}, "port publishing"),
        ({"PidMode": "container:a", "Sysctls": {"net.core.somaxconn": "9"}}, "net.core.somaxconn"),
        ({"NetworkMode": "container:a", "Sysctls": {"net.core.somaxconn": "9"}}, "net.core.somaxconn"),
        ({"IpcMode": "container:a", "Sysctls": {"kernel.shmmax": "9"}}, "kernel.shmmax"),
    ],
)
async def test_what_is_of_a_namespace_of_another_is_set_there(client: Client, host: dict[str, Any], words: str) -> None:
    status, message = await refused(client, host)
    assert status == 400 and words in message


async def test_it_gets_no_directory_of_the_host(client: Client, make: Make, tmp_path: Path) -> None:
    host = await make("sleep", "9")
    status, message = await refused(client, {"PidMode": f"container:{host}", "Binds": [f"{tmp_path}:/host"]})
    assert status == 501 and message.startswith("directories of this machine cannot be given")


async def test_no_network_can_be_had_besides_that_of_another(client: Client) -> None:
    networking = {"EndpointsConfig": {"bridge": {}}}
    status, message = await refused(client, {"NetworkMode": "container:a"}, NetworkingConfig=networking)
    assert status == 400 and message.startswith("container sharing network namespace with another container or host")


@pytest.mark.parametrize("mode", ["NetworkMode", "PidMode", "IpcMode"])
@pytest.mark.parametrize("ref", ["", "a\0", "a\n", "x" * 256])
def test_a_name_that_cannot_be_is_refused(mode: str, ref: str) -> None:
    body = b'{"Image": "x", "HostConfig": {"%s": "container:%s"}}'
    with pytest.raises(InvalidArgument):
        parse_create(body % (mode.encode(), ref.encode().replace(b"\n", b"\\n").replace(b"\0", b"\\u0000")), "")


@pytest.mark.parametrize("mode", ["UTSMode", "UsernsMode", "CgroupnsMode"])
def test_only_what_docker_joins_is_joined(mode: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid mode"):
        parse_create(b'{"Image": "x", "HostConfig": {"%s": "container:x"}}' % mode.encode(), "")
