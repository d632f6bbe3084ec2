# SPDX-License-Identifier: Apache-2.0
"""`docker cp` in both directions, as archives; and archives that would rather be elsewhere."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument, NotFound
from tests.guest.guest import Guest
from tests.guest.specifications import config

pytestmark = [pytest.mark.vm, pytest.mark.root]


def member(name: str, data: bytes = b"", **other: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in other.items():
        setattr(info, key, value)
    return info, data


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


async def put(guest: Guest, path: str, data: bytes, *, container: str = "c", **other: bool) -> None:
    stream = guest.agent.new_stream()
    unpacking = asyncio.create_task(guest.ask("archive.put", container=container, path=path, stream=stream, **other))
    await guest.write(stream, data)
    await unpacking


async def get(guest: Guest, path: str, container: str = "c") -> tarfile.TarFile:
    stream = guest.agent.new_stream()
    await guest.ask("archive.get", container=container, path=path, stream=stream)
    return tarfile.open(fileobj=io.BytesIO(await guest.read(stream)))


async def test_every_kind_of_file_comes_back_as_it_went(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    long = "/".join(["n" * 200] * 3)
    sent = archive(
        member("t", type=tarfile.DIRTYPE, mode=0o1750, uid=5, gid=6, mtime=1.5),
        member("t/file", b"x" * 300_000, mode=0o4755, uid=3_000_000, gid=4_000_000, mtime=1234567890.25),
        member("t/hard", type=tarfile.LNKTYPE, linkname="t/file"),
        member("t/link", type=tarfile.SYMTYPE, linkname="../somewhere/else", mtime=3),
        member("t/fifo", type=tarfile.FIFOTYPE, mode=0o600),
        member("t/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member(f"t/{long}", b"long"),
        member("t/attributes", b"", pax_headers={"SCHILY.xattr.user.colour": "blue"}),
    )
    await put(guest, "/srv", sent)
    with await get(guest, "/srv/t") as back:
        found = {info.name: info for info in back.getmembers()}
        content = back.extractfile("t/file")
        assert content is not None
        assert content.read() == b"x" * 300_000
    assert list(found) == sorted(found, key=lambda name: name.split("/"))
    directory, file = found["t"], found["t/file"]
    assert (directory.mode, directory.uid, directory.gid, directory.mtime) == (0o1750, 5, 6, 1.5)
    assert (file.mode, file.uid, file.gid, file.mtime) == (0o4755, 3_000_000, 4_000_000, 1234567890.25)
    assert (found["t/hard"].type, found["t/hard"].linkname) == (tarfile.LNKTYPE, "t/file")
    assert (found["t/link"].linkname, found["t/link"].mtime) == ("../somewhere/else", 3)
    assert found["t/fifo"].isfifo()
    assert (found["t/null"].devmajor, found["t/null"].devminor) == (1, 3)
    assert f"t/{long}" in found
    assert found["t/attributes"].pax_headers["SCHILY.xattr.user.colour"] == "blue"
    assert not any("trusted" in key for info in found.values() for key in info.pax_headers)


async def test_names_and_links_are_told_as_docker_tells_them(guest: Guest) -> None:
    script = (
        "mkdir -p /srv/d/e; echo 1 >/srv/d/e/f; ln -s /srv/../srv/d /srv/l; ln -s nowhere /srv/dead; exec sleep 1000"
    )
    await guest.start("c", "sh", "-c", script)
    while (await guest.execute("c", "test", "-L", "/srv/dead")).code != 0:
        pass
    for path, names in (
        ("/srv/d", ["d", "d/e", "d/e/f"]),
        ("/srv/d/.", [".", "./e", "./e/f"]),
        ("/srv/l", ["l"]),
        ("/srv/l/", ["l", "l/e", "l/e/f"]),
        ("/srv/l/e/f", ["f"]),
    ):
        with await get(guest, path) as tar:
            assert tar.getnames() == names, path

    async def stat(path: str) -> tuple[str, str]:
        found = (await guest.ask("archive.stat", container="c", path=path))["stat"]
        return found["name"], found["link_target"]

    assert await stat("/srv/l") == ("l", "/srv/d")
    assert await stat("/srv/l/") == ("l", "")
    assert await stat("/srv/dead") == ("dead", "/srv/nowhere")
    assert await stat("/") == ("/", "")
    for path, error in (("/srv/none", NotFound), ("/srv/d/e/f/", InvalidArgument)):
        with pytest.raises(error):
            await stat(path)


async def test_an_archive_cannot_leave_its_container(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    for name in ("../x", "a/../../x", "/../x", ".."):
        with pytest.raises(InvalidArgument):
            await put(guest, "/srv", archive(member(name, b"x")))
    with pytest.raises(InvalidArgument):
        await put(guest, "/srv", archive(member("h", type=tarfile.LNKTYPE, linkname="../etc/passwd")))
    # Through symlinks it gets as far as the container's own root.
    await put(
        guest,
        "/srv",
        archive(
            member("up", type=tarfile.SYMTYPE, linkname="../../../../../../.."),
            member("up/escaped", b"inside"),
            member("machine", type=tarfile.SYMTYPE, linkname="/run/hypercell"),
            member("machine/escaped", b"inside"),
            member("magic", type=tarfile.SYMTYPE, linkname="/proc/1/root"),
        ),
    )
    seen = await guest.execute("c", "cat", "/escaped", "/run/hypercell/escaped")
    assert seen.stdout == b"insideinside", seen.stderr
    with pytest.raises(InvalidArgument):
        await put(guest, "/srv", archive(member("magic/x", b"")))
    with pytest.raises(InvalidArgument):
        await put(guest, "/srv", b"noise" * 1000)
    with pytest.raises(InvalidArgument):
        await put(guest, "/etc/passwd", archive(member("x", b"")))
    with pytest.raises(NotFound):
        await put(guest, "/none", archive(member("x", b"")))


async def test_files_are_replaced_and_directories_merged_unless_that_is_forbidden(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000", user={"uid": 1000, "gid": 77})
    tree = archive(member("d", type=tarfile.DIRTYPE), member("d/a", b"1"), member("f", b"2", uid=9))
    await put(guest, "/srv", tree)
    await put(guest, "/srv", archive(member("d", type=tarfile.DIRTYPE), member("d/b", b"3"), member("f", b"4")))
    assert (await guest.execute("c", "sh", "-c", "cat /srv/d/* /srv/f")).stdout == b"134"
    with pytest.raises(InvalidArgument, match="cannot overwrite directory"):
        await put(guest, "/srv", archive(member("d", b"")), no_overwrite_dir_non_dir=True)
    with pytest.raises(InvalidArgument, match="cannot overwrite non-directory"):
        await put(guest, "/srv", archive(member("f", type=tarfile.DIRTYPE)), no_overwrite_dir_non_dir=True)
    await put(guest, "/srv", archive(member("d", b"file")))
    await put(guest, "/srv", archive(member("mine", b"", uid=5)), copy_uid_gid=True)
    seen = await guest.execute("c", "stat", "-c", "%u:%g %F", "/srv/d", "/srv/mine")
    assert seen.stdout == b"0:0 regular file\n1000:77 regular empty file\n"


async def test_a_read_only_container_takes_no_files_but_a_mounted_one_is_filled(guest: Guest) -> None:
    hosts = {"path": "/etc/hosts", "data": "b2xkCg==", "mode": 0o644, "uid": 0, "gid": 0}
    specification = config("sleep", "1000")
    await guest.create("c", specification, files=[hosts])
    await guest.ask("container.start", container="c")
    await put(guest, "/etc", archive(member("hosts", b"new\n")))
    assert (await guest.execute("c", "cat", "/etc/hosts")).stdout == b"new\n"
    specification["root"]["readonly"] = True
    await guest.create("fixed", specification)
    with pytest.raises(InvalidArgument, match="Read-only"):
        await put(guest, "/srv", archive(member("x", b"")), container="fixed")


async def test_the_whole_root_is_copied_without_the_kernel_s_file_systems(guest: Guest) -> None:
    await guest.start("c", "sh", "-c", "echo x >/dev/shm/x; exec sleep 1000")
    while (await guest.execute("c", "test", "-s", "/dev/shm/x")).code != 0:
        pass
    with await get(guest, "/") as tar:
        names = tar.getnames()
    assert {"/bin/busybox", "/etc/passwd", "/proc", "/sys", "/dev/pts", "/dev/shm/x", "/dev/null"} <= set(names)
    assert not [name for name in names if name.startswith(("/proc/", "/sys/", "/dev/pts/"))]
    with await get(guest, "/proc/version") as tar:
        assert tar.getnames() == ["version"]
