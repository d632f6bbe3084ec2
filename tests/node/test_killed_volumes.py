# SPDX-License-Identifier: Apache-2.0
"""`kill -9` of the daemon at every step of a volume's life: it is there or it is not, and no disk is left over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base.errors import NotFound
from hypercell.cloud.contract import MountRequest, VolumeRequest
from tests.node.test_killed_daemon import killed_at
from tests.support.house import House, T

DATA = (MountRequest("/data", "data"),)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    built = House(tmp_path)
    await built.machine.start()
    yield built
    await built.close()
    await built.machine.close()


async def names(home: House) -> list[str]:
    assert home.cloud is not None
    found = home.node.services.volumes.of(T)
    assert {path.name for path in home.config.volumes.iterdir()} == {volume.id for volume in found}
    return ["own" if volume.anonymous else volume.name for volume in found]


async def can_be_used(home: House) -> None:
    ident = await home.run("true", mounts=DATA)
    assert await home.wait(ident) == 0
    await home.containers.remove(T, ident)
    await home.settled()
    assert home.machine.vms == {}


@pytest.mark.parametrize(
    ("point", "made"),
    [("volume-directory", False), ("volume-disks", False), ("volume-recorded", True)],
)
async def test_a_volume_half_made_is_none(home: House, point: str, made: bool) -> None:
    await killed_at(home, point, "volume", "make")
    await home.open()
    assert await names(home) == (["data"] if made else [])
    await can_be_used(home)


@pytest.mark.parametrize(("point", "there"), [("volume-remove", True), ("volume-deleted", False)])
async def test_a_volume_half_removed_is_there_or_gone(home: House, point: str, there: bool) -> None:
    await home.open()
    assert home.cloud is not None
    await home.cloud.volumes.create(T, VolumeRequest("data"))
    await home.close()
    await killed_at(home, point, "volume", "remove")
    await home.open()
    assert await names(home) == (["data"] if there else [])
    await can_be_used(home)


@pytest.mark.parametrize("point", ["volume-directory", "volume-disks", "create-prepared"])
async def test_volumes_of_a_container_half_made_are_none(home: House, point: str) -> None:
    await killed_at(home, point, "volume", "run")
    await home.open()
    assert await names(home) == []
    await can_be_used(home)


RUN = ["create-recorded", "start-begin", "start-recorded", "vm-launched", "container-created", "container-started"]
END = ["exit-seen", "exit-recorded", "vm-discard", "vm-ended", "remove-begin"]


@pytest.mark.parametrize("point", [*RUN, *END])
async def test_volumes_of_a_container_stay_until_it_is_removed(home: House, point: str) -> None:
    await killed_at(home, point, "volume", "run")
    await home.open()
    await home.wait("it")
    await home.settled()
    assert sorted(await names(home)) == ["data", "own"]
    assert home.machine.vms == {}
    await can_be_used(home)
    await home.containers.remove(T, "it", volumes=True)
    assert await names(home) == ["data"]


@pytest.mark.parametrize("point", ["record-deleted", "remove-vm", "remove-directory"])
async def test_what_goes_with_a_container_is_gone_with_its_record(home: House, point: str) -> None:
    await killed_at(home, point, "volume", "run")
    await home.open()
    with pytest.raises(NotFound):
        await home.view("it")
    assert await names(home) == ["data"]
    await can_be_used(home)
