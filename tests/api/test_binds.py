# SPDX-License-Identifier: Apache-2.0
"""Directories of the host, as they are asked for: who may have which, in every spelling."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.cloud.contract import BindRequest
from hypercell.cloud.validate import validate
from tests.api.conftest import Client, connect
from tests.api.door import IMAGE, Make, root_tar
from tests.api.test_create_mounts import parsed
from tests.support.daemon import running


def bind(**members: Any) -> dict[str, Any]:
    return {"Mounts": [{"Type": "bind", **members}]}


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ({"Binds": ["/etc:/h"]}, BindRequest("/h", "/etc", make=True)),
        ({"Binds": ["/x/../etc//:/h/:ro"]}, BindRequest("/h", "/etc", read_only=True, make=True, mode="ro")),
        ({"Binds": ["/etc:/h:rw,rprivate,z"]}, BindRequest("/h", "/etc", make=True, mode="rw,rprivate,z")),
        (bind(Source="/etc", Target="/h"), BindRequest("/h", "/etc")),
        (bind(Source="/etc/", Target="/h", ReadOnly=True), BindRequest("/h", "/etc", read_only=True)),
        (
            bind(Source="/etc", Target="/h", BindOptions={"CreateMountpoint": True, "NonRecursive": True}),
            BindRequest("/h", "/etc", make=True, recursive=False),
        ),
    ],
)
def test_each_spelling_is_one_form(host: dict[str, Any], wanted: BindRequest) -> None:
    request = parsed(host)
    validate(request)
    assert request.binds == (wanted,) and request.mounts == ()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (bind(Target="/h"), "field Source must not be empty"),
        (bind(Source="etc", Target="/h"), "mount path must be absolute"),
        (bind(Source="/etc", Target="/"), "destination can't be '/'"),
        (bind(Source="/etc", Target="/h", VolumeOptions={"NoCopy": True}), "VolumeOptions"),
        ({"Binds": ["/etc:/h", "/usr:/h"]}, "Duplicate mount point: /h"),
        ({"Binds": ["/etc:/h"], "Tmpfs": {"/h": ""}}, "Duplicate mount point: /h"),
        ({"Binds": ["/etc:/proc/x"]}, "invalid mount path /proc/x"),
        ({"Binds": ["/e\0tc:/h"]}, ""),
        ({"Binds": [f"/{number}:/h{number}" for number in range(65)]}, "64 files and directories"),
    ],
)
def test_what_makes_no_sense_is_refused(host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate(parsed(host))
    assert words in refused.value.message


@pytest.mark.parametrize("propagation", ["shared", "rshared", "slave", "rslave"])
def test_mounts_are_not_passed_on(propagation: str) -> None:
    for host in (
        {"Binds": [f"/etc:/h:{propagation}"]},
        bind(Source="/etc", Target="/h", BindOptions={"Propagation": propagation}),
    ):
        with pytest.raises(Unsupported, match="a VM's mounts are its own"):
            parsed(host)


async def test_a_bind_is_shown_as_docker_shows_it(client: Client, make: Make, tmp_path: Path) -> None:
    name = await make("cat", host={"Binds": [f"{tmp_path}:/h:ro"]})
    status, shown = await client.ask("GET", f"/containers/{name}/json")
    assert status == 200 and shown["HostConfig"]["Binds"] == [f"{tmp_path}:/h:ro"]
    (mount,) = shown["Mounts"]
    assert mount == {
        "Type": "bind",
        "Source": str(tmp_path),
        "Destination": "/h",
        "Mode": "ro",
        "RW": False,
        "Propagation": "rprivate",
    }
    heir = await make("cat", host={"VolumesFrom": [name]})
    status, shown = await client.ask("GET", f"/containers/{heir}/json")
    assert [(one["Source"], one["Destination"], one["RW"]) for one in shown["Mounts"]] == [(str(tmp_path), "/h", False)]


async def test_a_directory_that_is_missing_is_made_at_the_start_or_refused_at_once(
    client: Client, make: Make, tmp_path: Path
) -> None:
    missing = tmp_path / "a/b"
    body = {"Image": IMAGE, "HostConfig": bind(Source=str(missing), Target="/h")}
    status, answer = await client.ask("POST", "/containers/create", body)
    assert status == 400 and "bind source path does not exist" in answer["message"]
    name = await make("cat", host={"Binds": [f"{missing}:/h"]})
    assert not missing.exists()
    assert (await client.ask("POST", f"/containers/{name}/start"))[0] == 204
    assert missing.is_dir()


async def test_what_cannot_be_reached_from_a_vm_is_refused_with_the_reason(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        for source, words in ((str(path), "is a socket of this machine"), ("/dev/null", "is a device of this machine")):
            body = {"Image": IMAGE, "HostConfig": {"Binds": [f"{source}:/h"]}}
            status, answer = await client.ask("POST", "/containers/create", body)
            assert status == 501 and words in answer["message"]


async def test_the_operator_can_forbid_it(tmp_path: Path) -> None:
    with running(tmp_path / "d", driver="fake", bridge="hcforb0", subnet="172.22.0.0/16", binds=False) as daemon:
        client = await connect(daemon.socket)
        await client.ask("POST", "/images/create?fromSrc=-&repo=fake&tag=test", root_tar(), {"X-Kind": "tar"})
        body = {"Image": IMAGE, "Cmd": ["cat"], "HostConfig": {"Binds": [f"{tmp_path}:/h"]}}
        status, answer = await client.ask("POST", "/containers/create", body)
        assert status == 403 and "not given to containers here" in answer["message"]
        await client.close()
