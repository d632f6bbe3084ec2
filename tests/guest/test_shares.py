# SPDX-License-Identifier: Apache-2.0
"""Files of the host in a VM: what is listed, as it is meant, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.vm.driver import Shared
from tests.guest.conftest import Boot
from tests.guest.guest import Guest
from tests.guest.specifications import config
from tests.support.house import eventually

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "host"
    (path / "below").mkdir(parents=True)
    (path / "file").write_text("of the host\n")
    (tmp_path / "secret").write_text("nobody's business\n")
    (path / "out").symlink_to("../secret")
    return path


def bind(destination: str, number: int, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "hypercell.bind", "source": str(number), "options": list(options)}


async def sh(guest: Guest, script: str, *mounts: dict[str, Any], container: str = "c", **other: Any) -> str:
    ended = await guest.run(container, "sh", "-c", script, mounts=list(mounts), **other)
    return (ended.stdout + ended.stderr).decode()


async def test_what_is_written_on_one_side_is_read_on_the_other(boot: Boot, place: Path) -> None:
    guest = await boot(shared=(Shared(place, read_only=False), Shared(place / "file", read_only=False)))
    look = "cat /a/file /b; echo of the guest >/a/below/new; chown 7:8 /a/below/new; echo more >>/b; ls /a"
    assert await sh(guest, look, bind("/a", 0), bind("/b", 1)) == "of the host\nof the host\nbelow\nfile\nout\n"
    assert (place / "below/new").read_text() == "of the guest\n"
    assert ((place / "below/new").stat().st_uid, (place / "below/new").stat().st_gid) == (7, 8)
    assert (place / "file").read_text() == "of the host\nmore\n"
    (place / "below/new").write_text("changed\n")
    assert await sh(guest, "cat /a/below/new", bind("/a", 0), container="later") == "changed\n"


async def test_what_is_read_only_is_so_whatever_the_guest_does(boot: Boot, place: Path) -> None:
    guest = await boot(shared=(Shared(place, read_only=True), Shared(place / "file", read_only=True)))
    # Not by an option of the mount in the guest, which the guest's root could take back.
    seen = await sh(guest, "echo x >/a/new; echo x >/b; rm /a/file; mkdir /a/d; cat /b", bind("/a", 0), bind("/b", 1))
    assert seen.count("Read-only file system") == 4 and "of the host\n" in seen
    assert sorted(path.name for path in place.iterdir()) == ["below", "file", "out"]


async def test_nothing_beside_what_is_shared_can_be_reached(boot: Boot, place: Path) -> None:
    guest = await boot(shared=(Shared(place, read_only=False),))
    seen = await sh(guest, "cat /a/out; ls /a/..; cat /a/../secret; mknod /a/null c 1 3", bind("/a", 0))
    assert "nobody" not in seen and "Operation not permitted" in seen
    with pytest.raises((InvalidArgument, NotFound)):
        await guest.create("c", config("true", mounts=[bind("/a", 1)]))
    with pytest.raises((InvalidArgument, NotFound)):
        await guest.create("c", config("true", mounts=[{**bind("/a", 0), "source": "../.."}]))
    servers = _servers(place)
    assert servers
    for server in servers:
        root = Path(f"/proc/{server}/root")
        assert [path.name for path in root.iterdir()] == ["0"], "it sees what is shared, and nothing else of the host"


async def test_what_is_mounted_below_is_seen_and_has_numbers_of_its_own(boot: Boot, place: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place / "below"], check=True)
    try:
        (place / "below/deep").write_text("deep\n")
        guest = await boot(shared=(Shared(place, read_only=True),))
        seen = await sh(
            guest, "cat /a/below/deep; echo x >/a/below/deep; stat -c %d /a /a/below", bind("/a", 0, "rbind")
        )
        assert seen.startswith("deep\n") and "Read-only" in seen
        assert len(set(seen.split()[-2:])) == 2
        alone = await boot(shared=(Shared(place, read_only=False, recursive=False),))
        assert await sh(alone, "ls /a/below", bind("/a", 0, "rbind")) == ""
    finally:
        subprocess.run(["umount", place / "below"], check=True)


async def test_a_vm_that_nothing_is_shared_with_says_so(guest: Guest) -> None:
    with pytest.raises(NotFound, match="shares nothing"):
        await guest.create("c", config("true", mounts=[bind("/a", 0)]))


async def test_the_server_ends_with_its_vm(boot: Boot, place: Path) -> None:
    guest = await boot(shared=(Shared(place, read_only=False),))
    assert _servers(place)
    await guest.vm.kill()

    async def gone() -> bool:
        return not _servers(place)

    await eventually(gone)


async def test_what_is_not_there_is_refused(boot: Boot, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot share"):
        await boot(shared=(Shared(tmp_path / "missing", read_only=False),))


def _servers(place: Path) -> list[int]:
    """Processes of virtiofsd for the VMs of this test."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"virtiofsd") and str(place.parent).encode() in b" ".join(words):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
