# SPDX-License-Identifier: Apache-2.0
"""Volumes through the Engine API, at a daemon whose guests are fake."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Client
from .door import IMAGE, Make, names, root_tar

ANONYMOUS = "com.docker.volume.anonymous"
Volume = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def volume(client: Client) -> AsyncIterator[Volume]:
    """Make a volume; none is there before or after the test."""

    async def create(name: str = "", **members: Any) -> dict[str, Any]:
        status, made = await client.ask("POST", "/volumes/create", {"Name": name, **members})
        assert status == 201, made
        return dict(made)

    yield create
    for container in (await client.ask("GET", "/containers/json?all=1"))[1]:
        await client.ask("DELETE", f"/containers/{container['Id']}?force=1")
    await client.ask("POST", "/v1.41/volumes/prune")
    for name in await listed(client):  # with options: a prune leaves them alone
        assert (await client.ask("DELETE", f"/volumes/{name}"))[0] == 204
    assert await listed(client) == []


async def listed(client: Client, **filters: list[str]) -> list[str]:
    status, answer = await client.ask("GET", f"/volumes?filters={quote(json.dumps(filters))}")
    assert status == 200, answer
    return [item["Name"] for item in answer["Volumes"]]


async def shown(client: Client, container: str) -> list[dict[str, Any]]:
    return list((await client.ask("GET", f"/containers/{container}/json"))[1]["Mounts"])


async def test_a_volume_is_made_shown_and_removed(client: Client, volume: Volume) -> None:
    made = await volume("data", Labels={"a": "b"}, DriverOpts={"size": "100m"}, Driver="local")
    assert made | {"CreatedAt": ""} == {
        "CreatedAt": "",
        "Driver": "local",
        "Labels": {"a": "b"},
        "Mountpoint": "",
        "Name": "data",
        "Options": {"size": "100m"},
        "Scope": "local",
    }
    assert await client.ask("GET", "/volumes/data") == (200, made)
    assert await client.ask("GET", "/volumes") == (200, {"Volumes": [made], "Warnings": None})
    assert (await client.ask("DELETE", "/volumes/data"))[0] == 204
    assert await client.ask("GET", "/volumes/data") == (404, {"message": "get data: no such volume"})
    assert await client.ask("DELETE", "/volumes/data") == (404, {"message": "get data: no such volume"})
    assert (await client.ask("DELETE", "/volumes/data?force=1"))[0] == 204


async def test_a_volume_that_is_there_is_not_made_again(client: Client, volume: Volume) -> None:
    made = await volume("data", Labels={"a": "b"})
    assert await volume("data", Labels={"c": "d"}) == made


async def test_a_volume_without_a_name_is_anonymous(client: Client, volume: Volume) -> None:
    made = await volume(Labels={"a": "b"})
    assert len(made["Name"]) == 64
    assert made["Labels"] == {"a": "b", ANONYMOUS: ""}
    await volume("named")
    assert (await client.ask("POST", "/volumes/prune"))[1]["VolumesDeleted"] == [made["Name"]]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"Name": "x"}, 400, "volume name is too short"),
        ({"Name": "../x"}, 400, "includes invalid characters for a local volume name"),
        ({"Name": "x" * 256}, 400, "includes invalid characters"),
        ({"Name": "data", "Driver": "nfs"}, 404, 'error looking up volume plugin nfs: plugin "nfs" not found'),
        ({"Name": "data", "DriverOpts": {"odd": "1"}}, 400, 'invalid option: "odd"'),
        (
            {"Name": "data", "DriverOpts": {"type": "nfs", "device": ":/x", "o": "addr=1"}},
            501,
            "'type' is not supported",
        ),
        ({"Name": "data", "DriverOpts": {"device": "/etc"}}, 501, "'device' is not supported"),
        ({"Name": "data", "DriverOpts": {"size": "much"}}, 400, "invalid size"),
        ({"Name": "data", "DriverOpts": {"size": "1"}}, 400, "must lie between 64 MiB"),
        ({"Name": "data", "DriverOpts": {"size": "9p"}}, 400, "must lie between 64 MiB"),
        ({"Name": "data", "ClusterVolumeSpec": {"Group": "x"}}, 501, "not built yet"),
        ({"Name": "data", "Odd": 1}, 400, "unknown field Odd"),
        ({"Name": "data", "Labels": {"x": "y" * (1 << 21)}}, 400, "Labels"),
    ],
)
async def test_what_cannot_be_made_is_refused(
    client: Client, volume: Volume, body: dict[str, Any], status: int, words: str
) -> None:
    answered, answer = await client.ask("POST", "/volumes/create", body)
    assert answered == status and words in answer["message"]


async def test_lists_are_filtered(client: Client, volume: Volume, make: Make) -> None:
    await volume("idle", Labels={"role": "db"})
    await make(host={"Binds": ["used:/data"]})
    assert await listed(client) == ["idle", "used"]
    assert await listed(client, dangling=["true"]) == ["idle"]
    assert await listed(client, dangling=["0"]) == ["used"]
    assert await listed(client, name=["us"]) == ["used"]
    assert await listed(client, name=["^dle"]) == []
    assert await listed(client, label=["role=db"]) == ["idle"]
    assert await listed(client, label=["role=web"]) == []
    assert await listed(client, driver=["local"]) == ["idle", "used"]
    assert await listed(client, driver=["loc"]) == []
    for wrong in ('{"odd":["x"]}', '{"dangling":["x"]}', "odd"):
        assert (await client.ask("GET", f"/volumes?filters={wrong}"))[0] == 400


async def test_a_volume_in_use_stays(client: Client, volume: Volume, make: Make) -> None:
    name = await make(host={"Binds": ["data:/data"]})
    ident = (await client.ask("GET", f"/containers/{name}/json"))[1]["Id"]
    for force in ("", "?force=1"):
        status, answer = await client.ask("DELETE", f"/volumes/data{force}")
        assert status == 409
        assert answer["message"].startswith(f"remove data: volume is in use - [{ident}]")
    assert (await client.ask("POST", "/v1.41/volumes/prune"))[1]["VolumesDeleted"] == []
    await client.ask("DELETE", f"/containers/{name}?v=1")
    assert await listed(client) == ["data"]


@pytest.mark.parametrize(
    ("path", "filters", "gone"),
    [
        ("/volumes/prune", {}, ["anonymous"]),
        ("/v1.42/volumes/prune", {}, ["anonymous"]),
        ("/v1.41/volumes/prune", {}, ["anonymous", "db", "web"]),
        ("/volumes/prune", {"all": ["true"]}, ["anonymous", "db", "web"]),
        ("/volumes/prune", {"all": ["1"], "label": ["role=db"]}, ["db"]),
        ("/volumes/prune", {"all": ["1"], "label!": ["role"]}, ["anonymous"]),
    ],
)
async def test_a_prune_takes_what_it_is_asked_for(
    client: Client, volume: Volume, path: str, filters: dict[str, list[str]], gone: list[str]
) -> None:
    for name in ("db", "web"):
        await volume(name, Labels={"role": name})
    await volume("sized", DriverOpts={"size": "64m"})
    unnamed = (await volume())["Name"]
    status, answer = await client.ask("POST", f"{path}?filters={quote(json.dumps(filters))}")
    assert status == 200
    assert sorted("anonymous" if name == unnamed else name for name in answer["VolumesDeleted"]) == gone
    assert "sized" in await listed(client)
    assert (await client.ask("POST", '/volumes/prune?filters={"odd":["x"]}'))[0] == 400


async def test_an_inspection_shows_its_volumes_as_docker_does(client: Client, volume: Volume, make: Make) -> None:
    mounts = [
        {"Type": "volume", "Source": "two", "Target": "/two", "VolumeOptions": {"Labels": {"a": "b"}}},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096}},
    ]
    host = {"Binds": ["one:/one:ro"], "Mounts": mounts, "Tmpfs": {"/old": "size=4096"}}
    name = await make(host=host, Volumes={"/own": {}, "/one": {}})
    _, view = await client.ask("GET", f"/containers/{name}/json")
    assert (view["HostConfig"]["Binds"], view["HostConfig"]["Mounts"]) == (host["Binds"], mounts)
    assert view["HostConfig"]["Tmpfs"] == {"/old": "size=4096"}
    assert view["Config"]["Volumes"] == {"/own": {}, "/one": {}}
    common = {"Type": "volume", "Source": "", "Driver": "local", "Propagation": ""}
    own = next(mount["Name"] for mount in view["Mounts"] if mount["Destination"] == "/own")
    assert view["Mounts"] == [
        {**common, "Name": "one", "Destination": "/one", "Mode": "ro", "RW": False},
        {**common, "Name": own, "Destination": "/own", "Mode": "", "RW": True},
        {"Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": True, "Propagation": ""},
        {**common, "Name": "two", "Destination": "/two", "Mode": "z", "RW": True},
    ]
    assert (await client.ask("GET", "/volumes/two"))[1]["Labels"] == {"a": "b"}
    for place in ("one", "/two", own):
        filters = quote(json.dumps({"volume": [place]}))
        _, found = await client.ask("GET", f"/containers/json?all=1&filters={filters}")
        assert [item["Names"] for item in found] == [[f"/{name}"]]
        assert found[0]["Mounts"] == view["Mounts"]
    _, found = await client.ask("GET", '/containers/json?all=1&filters={"volume":["on"]}')
    assert found == []


async def test_an_image_gets_its_volumes_and_a_removal_takes_only_those(client: Client, volume: Volume) -> None:
    changes = "&changes=VOLUME%20/data%20/more&changes=CMD%20cat"
    await client.ask("POST", f"/images/create?fromSrc=-&repo=declares&tag=1{changes}", root_tar(), {"X-Kind": "tar"})
    body = {"Image": "declares:1", "HostConfig": {"Binds": ["named:/more"]}}
    _, made = await client.ask("POST", "/containers/create", body)
    assert made["Warnings"] == []
    by_place = {mount["Destination"]: mount["Name"] for mount in await shown(client, made["Id"])}
    assert by_place.keys() == {"/data", "/more"} and by_place["/more"] == "named"
    assert (await client.ask("GET", f"/volumes/{by_place['/data']}"))[1]["Labels"] == {ANONYMOUS: ""}
    assert (await client.ask("DELETE", f"/containers/{made['Id']}"))[0] == 204
    assert await listed(client) == sorted(by_place.values())
    _, made = await client.ask("POST", "/containers/create", body)
    assert (await client.ask("DELETE", f"/containers/{made['Id']}?v=1"))[0] == 204
    assert await listed(client) == sorted(by_place.values())
    await client.ask("DELETE", "/images/declares:1")


async def test_volumes_of_another_container_are_mounted_at_the_same_places(
    client: Client, volume: Volume, make: Make
) -> None:
    first = await make(host={"Binds": ["named:/named", "other:/over"]}, Volumes={"/own": {}})
    own = next(mount["Name"] for mount in await shown(client, first) if mount["Destination"] == "/own")
    second = await make(host={"VolumesFrom": [f"{first}:ro"], "Binds": ["mine:/over"]})
    found = {mount["Destination"]: (mount["Name"], mount["RW"]) for mount in await shown(client, second)}
    assert found == {"/named": ("named", False), "/own": (own, False), "/over": ("mine", True)}
    await client.ask("DELETE", f"/containers/{first}?v=1")
    assert own in await listed(client)
    await client.ask("DELETE", f"/containers/{second}?v=1")
    assert await listed(client) == ["mine", "named", "other"]
    body = {"Image": IMAGE, "HostConfig": {"VolumesFrom": ["nobody"]}}
    status, answer = await client.ask("POST", "/containers/create", body)
    assert status == 400 and answer["message"].startswith("No such container: nobody")


async def test_nothing_is_made_for_a_container_that_is_not(client: Client, volume: Volume, make: Make) -> None:
    taken = await make()
    body = {"Image": IMAGE, "HostConfig": {"Binds": ["fresh:/data"]}, "Volumes": {"/own": {}}}
    assert (await client.ask("POST", f"/containers/create?name={taken}", body))[0] == 409
    assert await listed(client) == []
    body["Volumes"] = {f"/own{number}": {} for number in range(32)}
    status, answer = await client.ask("POST", "/containers/create", body)
    assert status == 400 and "have 33 volumes, and one may have 32" in answer["message"]
    assert await listed(client) == []


async def test_what_happens_to_volumes_is_told(client: Client, volume: Volume) -> None:
    name = next(names)
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"Binds": ["told:/data:ro"], "AutoRemove": False}}
    _, made = await client.ask("POST", f"/containers/create?name={name}", body)
    await client.ask("POST", f"/containers/{name}/start")
    await client.ask("POST", f"/containers/{name}/wait")
    await client.ask("DELETE", f"/containers/{name}")
    await client.ask("DELETE", "/volumes/told")
    filters = quote(json.dumps({"volume": ["told"]}))
    until = (await client.ask("GET", "/info"))[1]["SystemTime"]
    _, events = await client.ask("GET", f"/events?since=1&until={quote(until)}&filters={filters}")
    actions = [(event["Action"], event["Actor"]["Attributes"]) for event in events]
    ident = made["Id"]
    mounted = {"container": ident, "destination": "/data", "driver": "local", "propagation": "", "read/write": "false"}
    assert actions == [
        ("create", {"driver": "local"}),
        ("mount", mounted),
        ("unmount", {"container": ident, "driver": "local"}),
        ("destroy", {"driver": "local"}),
    ]
    assert {(event["Type"], event["Actor"]["ID"], event["scope"]) for event in events} == {("volume", "told", "local")}


async def test_disk_usage_counts_volumes(client: Client, volume: Volume, make: Make) -> None:
    await volume("idle")
    await make(host={"Binds": ["used:/data"]})
    _, usage = await client.ask("GET", "/system/df")
    found = {item["Name"]: item["UsageData"] for item in usage["Volumes"]}
    assert found == {"idle": {"RefCount": 0, "Size": 0}, "used": {"RefCount": 1, "Size": 0}}
    _, only = await client.ask("GET", "/system/df?type=volume")
    assert only["Images"] is None and len(only["Volumes"]) == 2


async def test_a_read_only_volume_is_not_copied_into(client: Client, volume: Volume, make: Make) -> None:
    name = await make("sleep", "60", start=True, host={"Binds": ["data:/data:ro"]})
    for path in ("/data", "/data/deep", "/x/../data"):
        status, answer = await client.ask("PUT", f"/containers/{name}/archive?path={path}", root_tar())
        assert (status, answer["message"]) == (400, "mounted volume is marked read-only")
    assert (await client.ask("PUT", f"/containers/{name}/archive?path=/database", root_tar()))[0] == 404
