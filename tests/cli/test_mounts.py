# SPDX-License-Identifier: Apache-2.0
"""`-v`, `--mount` and `--volumes-from`, as the daemon is asked for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hypercell.cli import mounts


def asked(*volume: str, mount: tuple[str, ...] = (), volumes_from: tuple[str, ...] = ()) -> tuple[Any, Any]:
    return mounts.volumes({"volume": volume, "mount": mount, "volumes_from": volumes_from})


def test_a_volume_is_one_of_its_own_or_a_named_one() -> None:
    own, host = asked("/data", "name:/x:ro", volumes_from=("a:ro",))
    assert own == {"Volumes": {"/data": {}}}
    assert (host["Binds"], host["VolumesFrom"]) == (["name:/x:ro"], ["a:ro"])
    assert asked() == ({}, {"Binds": None, "Mounts": None, "VolumesFrom": None})


def test_a_relative_path_is_one_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert asked("./x:/y", ".:/z:ro")[1]["Binds"] == [f"{tmp_path}/x:/y", f"{tmp_path}:/z:ro"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("src=data,dst=/data", {"Type": "volume", "Source": "data", "Target": "/data"}),
        (
            "type=volume,source=data,destination=/data,readonly,volume-nocopy,volume-subpath=a/b",
            {"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": True,
             "VolumeOptions": {"NoCopy": True, "Subpath": "a/b"}},
        ),
        (
            'target=/d,ro=false,volume-label=a=b,volume-label=c,volume-driver=local,"volume-opt=size=1g"',
            {"Type": "volume", "Target": "/d", "ReadOnly": False,
             "VolumeOptions": {"Labels": {"a": "b", "c": ""},
                               "DriverConfig": {"Name": "local", "Options": {"size": "1g"}}}},
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=64k,tmpfs-mode=1770",
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 0o1770}},
        ),
    ],
)  # fmt: skip
def test_all_fields_of_a_mount_are_asked_for(text: str, wanted: dict[str, Any]) -> None:
    assert asked(mount=(text,))[1]["Mounts"] == [wanted]
