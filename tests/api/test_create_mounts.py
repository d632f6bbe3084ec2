# SPDX-License-Identifier: Apache-2.0
"""Volumes of a create request: every spelling becomes one form, nonsense is refused in docker's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hypercell.api.docker.create import parse_create
from hypercell.base.errors import HypercellError, InvalidArgument
from hypercell.cloud.contract import ContainerRequest, MountRequest, VolumesFrom
from hypercell.cloud.validate import validate


def parsed(host: dict[str, Any], **config: Any) -> ContainerRequest:
    body = {"Image": "busybox", "Cmd": ["sh"], **config, "HostConfig": host}
    return parse_create(json.dumps(body).encode(), "").request


def volume(**members: Any) -> dict[str, Any]:
    return {"Mounts": [{"Type": "volume", **members}]}


DATA = MountRequest("/data", "name", mode="z")


@pytest.mark.parametrize(
    "host",
    [
        {"Binds": ["name:/data"]},
        {"Binds": ["name:/x/..//data/"]},
        {"binds": ["name:/data"]},
        volume(Source="name", Target="/data"),
        volume(Source="name", Target="/./data/", VolumeOptions={"DriverConfig": {"Name": "local"}}),
        {"mounts": [{"type": "volume", "source": "name", "target": "/data", "volumeoptions": {}}]},
    ],
)
def test_a_named_volume_is_the_same_however_it_is_spelt(host: dict[str, Any]) -> None:
    assert parsed(host).mounts == (DATA,)


@pytest.mark.parametrize(
    ("bind", "wanted"),
    [
        ("/data", MountRequest("/data", mode="z")),
        ("name:/data:ro", MountRequest("/data", "name", read_only=True, mode="ro")),
        ("name:/data:rw", MountRequest("/data", "name", mode="rw")),
        ("name:/data:Z", MountRequest("/data", "name", mode="Z")),
        ("name:/data:nocopy", MountRequest("/data", "name", copy=False, mode="nocopy")),
        ("name:/data:ro,z,nocopy", MountRequest("/data", "name", True, False, mode="ro,z,nocopy")),
        ("name:/data:", MountRequest("/data", "name", mode="z")),
    ],
)
def test_the_modes_of_a_bind_mean_what_they_mean_to_docker(bind: str, wanted: MountRequest) -> None:
    request = parsed({"Binds": [bind]})
    assert request.mounts == (wanted,)
    assert request.door["HostConfig"]["Binds"] == [bind]


def test_all_options_of_a_volume_are_taken() -> None:
    wishes = {
        "NoCopy": True,
        "Labels": {"a": "b"},
        "DriverConfig": {"Name": "local", "Options": {"size": "1g"}},
        "Subpath": "./deep//er/",
    }
    request = parsed(volume(Source="name", Target="/data", ReadOnly=True, VolumeOptions=wishes))
    wanted = MountRequest("/data", "name", True, False, "deep/er", "z", {"a": "b"}, {"size": "1g"})
    assert request.mounts == (wanted,)
    (shown,) = request.door["HostConfig"]["Mounts"]
    assert shown == {
        "Type": "volume", "Source": "name", "Target": "/data", "ReadOnly": True, "VolumeOptions": wishes,
    }  # fmt: skip


def test_places_for_volumes_of_its_own_are_told_apart_from_named_ones() -> None:
    request = parsed({"VolumesFrom": ["one", "two:ro", "three:rw,z"]}, Volumes={"/b": {}, "/a/../c": {}})
    assert request.volumes == ("/b", "/c")
    assert request.volumes_from == (VolumesFrom("one"), VolumesFrom("two", "ro"), VolumesFrom("three", "rw,z"))
    assert [source.read_only for source in request.volumes_from] == [False, True, False]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Binds": [":/data"]}, "invalid volume specification: ':/data'"),
        ({"Binds": ["name:rw"]}, "invalid volume specification: 'name:rw'"),
        ({"Binds": ["name:"]}, "invalid volume specification: 'name:'"),
        ({"Binds": ["a:/b:ro:c"]}, "invalid volume specification: 'a:/b:ro:c'"),
        ({"Binds": ["a:/b:odd"]}, "invalid mode: odd"),
        ({"Binds": ["a:/b:ro,rw"]}, "invalid mode: ro,rw"),
        ({"Binds": ["a:/b:ro,ro"]}, "invalid mode: ro,ro"),
        ({"Binds": ["a:/b:rshared"]}, "field BindOptions must not be specified"),
        ({"Binds": ["a:b"]}, "invalid mount path: 'b' mount path must be absolute"),
        ({"Binds": ["a:/"]}, "destination can't be '/'"),
        ({"Binds": ["a:/x/.."]}, "destination can't be '/'"),
        ({"Binds": ["a"]}, "mount path must be absolute"),
        ({"Binds": ["a/b:/c"]}, 'create a/b: "a/b" includes invalid characters for a local volume name'),
        ({"Binds": ["..:/c"]}, "includes invalid characters"),
        ({"Binds": ["a:/c"]}, "volume name is too short"),
        ({"Binds": ["one:/c", "two:/c/"]}, "Duplicate mount point: /c"),
        ({"Binds": ["one:/c"], "Tmpfs": {"/c": ""}}, "Duplicate mount point: /c"),
        ({"Binds": ["one:/c"], "Mounts": [{"Type": "volume", "Target": "/c"}]}, "Duplicate mount point: /c"),
        ({"Tmpfs": {"/c": ""}, "Mounts": [{"Type": "tmpfs", "Target": "/c"}]}, "Duplicate mount point: /c"),
        ({"Binds": ["one:/proc/x"]}, "invalid mount path /proc/x"),
        (volume(Source="one"), 'invalid mount config for type "volume": field Target must not be empty'),
        (volume(Target="/c", ReadOnly=True), "must not set ReadOnly mode when using anonymous volumes"),
        (volume(Target="/c", VolumeOptions={"Subpath": "x"}), "must not set Subpath when using anonymous volumes"),
        (volume(Source="one", Target="/c", VolumeOptions={"Subpath": "../x"}), "subpath must be a relative path"),
        (volume(Source="one", Target="/c", VolumeOptions={"Subpath": "/x"}), "subpath must be a relative path"),
        (volume(Source="one", Target="/c", VolumeOptions={"Subpath": "a,ro"}), "subpath must be a relative path"),
        (volume(Source="one", Target="/c", BindOptions={"Propagation": "shared"}), "BindOptions must not be"),
        ({"Mounts": [{"Type": "odd", "Target": "/c"}]}, 'invalid mount config for type "odd": mount type unknown'),
        ({"VolumesFrom": [""]}, "volumes-from specification cannot be an empty string"),
        ({"VolumesFrom": ["x:odd"]}, "invalid mode: odd"),
        ({"VolumesFrom": ["x:nocopy"]}, "invalid mode: nocopy"),
        ({"VolumesFrom": ["x:shared"]}, "invalid mode: shared"),
    ],
)
def test_what_makes_no_sense_is_refused_in_dockers_words(host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate(parsed(host))
    assert words in refused.value.message


@pytest.mark.parametrize("value", ["x", 1, [], {"a": 1}])
def test_a_place_for_a_volume_says_nothing_else(value: Any) -> None:
    with pytest.raises(HypercellError):
        parsed({}, Volumes={"/a": value})
