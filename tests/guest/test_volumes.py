# SPDX-License-Identifier: Apache-2.0
"""Volumes: disks beside the root, as the agent mounts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.vm.driver import Disk
from tests.guest.conftest import Boot
from tests.guest.guest import Guest
from tests.guest.specifications import config
from tests.support.files import copy_sparsely

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture
def volume_disk(tmp_path: Path, empty_disk: Path) -> Path:
    return copy_sparsely(empty_disk, tmp_path / "volume")


def volume(destination: str, *options: str, source: str = "v0") -> dict[str, Any]:
    return {"destination": destination, "type": "hypercell.volume", "source": source, "options": list(options)}


async def sh(guest: Guest, script: str, *mounts: dict[str, Any], container: str = "c") -> str:
    ended = await guest.run(container, "sh", "-c", script, mounts=list(mounts))
    return (ended.stdout + ended.stderr).decode()


async def test_a_volume_keeps_what_was_written_when_its_container_and_its_vm_are_gone(
    boot: Boot, volume_disk: Path
) -> None:
    guest = await boot()
    await guest.vm.plug("v0", Disk(volume_disk, read_only=False))
    assert await sh(guest, "ls -A /new/place; echo kept >/new/place/file", volume("/new/place")) == ""
    assert await sh(guest, "cat /data/file", volume("/data"), container="other") == "kept\n"
    await guest.ask("shutdown", timeout_ms=5000)
    await guest.vm.wait()
    later = await boot()
    await later.vm.plug("v0", Disk(volume_disk, read_only=False))
    assert await sh(later, "cat /data/file; ls -A /data", volume("/data")) == "kept\nfile\n"


async def test_an_empty_volume_gets_what_the_image_has_there_and_a_used_one_keeps_its_own(
    guest: Guest, volume_disk: Path
) -> None:
    await guest.vm.plug("v0", Disk(volume_disk, read_only=False))
    look = "ls /etc; stat -c '%a %u' /etc; cat /etc/group | head -1"
    before = await sh(guest, "chmod 0751 /etc; chown 7 /etc; " + look)
    assert await sh(guest, look, volume("/etc", "copy")) == before
    await sh(guest, "rm /etc/group; echo mine >/etc/mine", volume("/etc", "copy"))
    assert "mine\npasswd\n" in (after := await sh(guest, "ls /etc", volume("/etc", "copy"))) and "group" not in after


async def test_without_copy_a_volume_stays_empty(guest: Guest, volume_disk: Path) -> None:
    await guest.vm.plug("v0", Disk(volume_disk, read_only=False))
    assert await sh(guest, "ls -A /srv; stat -c %a /srv", volume("/srv")) == "755\n"


async def test_a_volume_is_read_only_where_it_is_mounted_so(guest: Guest, volume_disk: Path) -> None:
    await guest.vm.plug("v0", Disk(volume_disk, read_only=False))
    mounts = (volume("/a"), volume("/b", "ro", "noexec"))
    seen = await sh(guest, "echo x >/a/x; cat /b/x; echo y >/b/y; grep ' /b ' /proc/mounts", *mounts)
    assert "x\n" in seen and "Read-only file system" in seen and "noexec" in seen


async def test_a_disk_that_was_plugged_read_only_is_never_written(guest: Guest, volume_disk: Path) -> None:
    await guest.vm.plug("v0", Disk(volume_disk, read_only=False))
    await sh(guest, "echo x >/data/x", volume("/data"))
    await guest.vm.unplug("v0")
    before = volume_disk.stat().st_mtime_ns
    await guest.vm.plug("v0", Disk(volume_disk, read_only=True))
    seen = await sh(guest, "cat /data/x; echo y >/data/y", volume("/data", "copy"))
    assert seen.startswith("x\n") and "Read-only file system" in seen
    assert volume_disk.stat().st_mtime_ns == before


async def test_what_was_not_let_go_of_in_order_is_not_mounted_as_if_it_had_been(boot: Boot, volume_disk: Path) -> None:
    guest = await boot()
    await guest.vm.plug("v0", Disk(volume_disk, read_only=False))
    await sh(guest, "echo 1 >/data/x; sync", volume("/data"))
    waiting = await guest.start("stays", "sh", "-c", "echo 2 >/data/x; sync; sleep 1000", mounts=[volume("/data")])
    assert waiting.stdout
    await guest.vm.kill()
    await guest.vm.wait()
    reader = await boot()
    await reader.vm.plug("v0", Disk(volume_disk, read_only=True))
    with pytest.raises(InvalidArgument, match="not let go of in order"):
        await reader.create("c", config("true", mounts=[volume("/data")]))


async def test_disks_that_come_and_go_quickly_are_the_ones_that_are_there(boot: Boot, volume_disk: Path) -> None:
    guest = await boot()
    for number in range(8):
        await guest.vm.plug("v0", Disk(volume_disk, read_only=number % 2 == 1))
        script = "cat /data/n 2>/dev/null; echo x >>/data/n" if number % 2 == 0 else "cat /data/n"
        said = await sh(guest, script, volume("/data"))
        assert said.split() == ["x"] * ((number + 1) // 2)
        await guest.vm.unplug("v0")


async def test_a_subpath_is_inside_its_volume_whatever_a_tenant_left_there(guest: Guest, volume_disk: Path) -> None:
    await guest.vm.plug("v0", Disk(volume_disk, read_only=False))
    await sh(
        guest, "mkdir -p /d/a/b; echo in >/d/a/b/f; echo in >/d/proc; ln -s / /d/up; ln -s /proc /d/p", volume("/d")
    )
    assert await sh(guest, "cat /x/f; cat /y", volume("/x", "subpath=a/b"), volume("/y", "subpath=a/b/f")) == "in\nin\n"
    assert await sh(guest, "ls /x; cat /y", volume("/x", "subpath=up/a"), volume("/y", "subpath=p")) == "b\nin\n"
    assert await sh(guest, "ls /x", volume("/x", "subpath=../../..")) == "a\np\nproc\nup\n"
    for missing in ("nothing", "a/../../../root"):
        with pytest.raises((NotFound, InvalidArgument)):
            await guest.create("c", config("true", mounts=[volume("/x", f"subpath={missing}")]))


async def test_two_containers_of_a_vm_share_a_volume_and_the_last_one_gives_it_back(
    guest: Guest, volume_disk: Path
) -> None:
    await guest.vm.plug("v0", Disk(volume_disk, read_only=False))
    waiting = await guest.start(
        "one", "sh", "-c", "until [ -e /data/go ]; do sleep 0.05; done", mounts=[volume("/data")]
    )
    assert await sh(guest, "touch /data/go", volume("/data"), container="two") == ""
    assert await guest.read(waiting.stdout) == b""
    await guest.exit("one")
    await guest.ask("container.delete", container="one")
    await guest.vm.unplug("v0")


async def test_a_volume_without_a_disk_or_with_another_file_system_is_refused_and_nothing_is_left(
    guest: Guest, tmp_path: Path
) -> None:
    blank = tmp_path / "blank"
    with blank.open("wb") as file:
        file.truncate(1 << 20)
    await guest.vm.plug("v0", Disk(blank, read_only=False))
    for source in ("v0", "v9", "../root", "root"):
        with pytest.raises((InvalidArgument, NotFound)):
            await guest.create("c", config("true", mounts=[volume("/data", source=source)]))
    assert (await guest.ask("state"))["containers"] == []
    await guest.vm.unplug("v0")
