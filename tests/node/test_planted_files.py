# SPDX-License-Identifier: Apache-2.0
"""Links and files that somebody put where the daemon is about to make its own (C1 of docs/security.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hypercell.base.errors import HypercellError
from hypercell.base.ids import new_id
from hypercell.node.storage import Storage
from tests.support.house import House, T

SIZE = 64 * 1024**2


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory with a file that must stay as they are."""
    directory = tmp_path / "victim"
    directory.mkdir()
    (directory / "rw.img").write_text("precious")
    return directory


def unharmed(victim: Path) -> bool:
    return [path.name for path in victim.iterdir()] == ["rw.img"] and (victim / "rw.img").read_text() == "precious"


async def test_a_link_in_place_of_a_containers_directory_is_not_followed(home: House, victim: Path) -> None:
    storage = Storage(home.config)
    await storage.open()
    for target in (victim, victim / "absent", victim / "rw.img"):
        ident = new_id()
        storage.directory(ident).symlink_to(target)
        with pytest.raises(HypercellError):
            await storage.create(ident, SIZE)
        assert unharmed(victim)


async def test_links_among_the_containers_directories_are_swept_and_not_followed(home: House, victim: Path) -> None:
    kept = await home.create("true")
    (home.config.containers / "link").symlink_to(victim)
    (home.config.containers / new_id()).symlink_to(victim / "rw.img")
    (home.config.containers / "file").write_text("")
    (home.config.containers / "directory").mkdir()
    (home.config.containers / "directory" / "link").symlink_to(victim)
    await home.reopen()
    assert [path.name for path in home.config.containers.iterdir()] == [kept]
    assert unharmed(victim)


async def test_links_among_the_volumes_are_swept_and_not_followed(home: House, victim: Path) -> None:
    await home.create("true", volumes=("/own",))
    kept = [path.name for path in home.config.volumes.iterdir()]
    (home.config.volumes / "link").symlink_to(victim)
    (home.config.volumes / new_id()).symlink_to(victim / "rw.img")
    (home.config.volumes / "directory").mkdir()
    (home.config.volumes / "directory" / "link").symlink_to(victim)
    await home.reopen()
    assert [path.name for path in home.config.volumes.iterdir()] == kept
    assert unharmed(victim)


def symlink(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "rw.img")


def fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [symlink, fifo])
def test_a_disk_that_is_no_file_of_our_own_is_not_opened(
    tmp_path: Path, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    from hypercell.vm.spawn import open_disk

    disk = tmp_path / "rw.img"
    plant(disk, victim)
    for read_only in (True, False):
        with pytest.raises(HypercellError, match="disk"):
            open_disk(disk, read_only)
    assert unharmed(victim)


async def test_a_removal_takes_links_and_leaves_what_they_lead_to(home: House, victim: Path) -> None:
    ident = await home.create("true")
    directory = home.config.containers / ident
    (directory / "down").symlink_to(victim)
    (directory / "rw.img").unlink()
    (directory / "rw.img").symlink_to(victim / "rw.img")
    await home.containers.remove(T, ident)
    await home.settled()
    assert not directory.exists()
    assert unharmed(victim)
