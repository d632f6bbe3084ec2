# SPDX-License-Identifier: Apache-2.0
"""Volumes in real VMs: what only a guest and its kernel can show."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hypercell.base.errors import Conflict, InvalidArgument
from hypercell.cloud.contract import MountRequest, Status
from tests.node.test_visits import body, fetched, packed
from tests.support.house import T
from tests.support.real_house import RealHouse, real_house

pytestmark = [pytest.mark.vm, pytest.mark.root]
DATA = {"mounts": (MountRequest("/data", "data"),)}
ONLY_READ = {"mounts": (MountRequest("/data", "data", read_only=True),)}


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealHouse]:
    async with real_house(tmp_path) as built:
        yield built


async def sh(home: RealHouse, script: str, **request: Any) -> str:
    """What a container that is removed then wrote."""
    ident = await home.create("sh", "-c", f"{script} 2>&1", **request)
    await home.containers.start(T, ident)
    await home.wait(ident)
    said = (await home.output(ident)).decode()
    await home.containers.remove(T, ident)
    return said


async def test_what_was_written_outlives_its_container_however_that_goes(real: RealHouse) -> None:
    ident = await real.create("sh", "-c", "echo one >/data/file", auto_remove=True, **DATA)
    waiting = asyncio.ensure_future(real.wait(ident, "removed"))
    await asyncio.sleep(0)
    await real.containers.start(T, ident)
    assert await waiting == 0
    ident = await real.run("sh", "-c", "echo two >>/data/file; echo up; sleep infinity", **DATA)
    await real.writes(ident, b"up\n")
    await real.containers.remove(T, ident, force=True)
    ident = await real.run("sh", "-c", "echo three >>/data/file; echo up; sleep infinity", **DATA)
    await real.writes(ident, b"up\n")
    await real.containers.kill(T, ident)
    assert await sh(real, "cat /data/file", **DATA) == "one\ntwo\nthree\n"
    assert await real.vms() == []


async def test_an_empty_volume_gets_what_the_image_has_even_if_it_is_only_read(real: RealHouse) -> None:
    mounts = (MountRequest("/bin", "programs", read_only=True), MountRequest("/etc", "bare", copy=False))
    image = await sh(real, "stat -c %a /bin; ls /bin")
    seen = await sh(real, "stat -c %a /bin; ls /bin; ls -A /etc; touch /bin/x; touch /etc/x", mounts=mounts)
    assert seen == f"{image}hostname\nhosts\nresolv.conf\ntouch: /bin/x: Read-only file system\n"
    assert await sh(real, "ls /copy", mounts=(MountRequest("/copy", "programs", read_only=True),)) in image
    assert "x" in (await sh(real, "ls /etc", mounts=(MountRequest("/etc", "bare"),))).split()


async def test_many_read_what_one_wrote_that_died(real: RealHouse) -> None:
    ident = await real.run("sh", "-c", "echo kept >/data/file; sync; echo up; sleep infinity", **DATA)
    await real.writes(ident, b"up\n")
    await real.node.get(ident).pod.kill()
    assert await real.wait(ident) == 255
    script = "cat /data/file; touch /data/x 2>/dev/null || echo refused; sleep infinity"
    idents = [await real.create("sh", "-c", script, **ONLY_READ) for _ in range(2)]
    await asyncio.gather(*(real.containers.start(T, ident) for ident in idents))
    for reader in idents:
        await real.writes(reader, b"kept\nrefused\n")
    with pytest.raises(Conflict, match='volume "data" is used by'):
        await real.containers.start(T, ident)
    for reader in idents:
        await real.containers.remove(T, reader, force=True)
    await real.containers.start(T, ident)
    assert await real.status(ident) is Status.RUNNING


async def test_a_volume_that_was_wrongly_taken_to_be_in_order_is_put_in_order_the_next_time(real: RealHouse) -> None:
    ident = await real.run("sh", "-c", "echo kept >/data/file; sync; echo up; sleep infinity", **DATA)
    await real.writes(ident, b"up\n")
    await real.node.get(ident).pod.kill()
    assert await real.wait(ident) == 255
    store = real.node.services.volumes
    (volume,) = (use.volume for use in real.node.get(ident).volumes)
    await store.note_clean([volume], True)
    reader = await real.create("cat", "/data/file", **ONLY_READ)
    with pytest.raises(InvalidArgument, match=r'volume "data" was not let go of in order, .*: try again'):
        await real.containers.start(T, reader)
    assert not store.get(volume).clean
    assert await sh(real, "cat /data/file", **ONLY_READ) == "kept\n"


async def test_directories_of_a_volume_are_mounted_by_themselves(real: RealHouse) -> None:
    await sh(real, "mkdir -p /data/a/b /data/c; echo in >/data/a/b/f", **DATA)
    mounts = (MountRequest("/x", "data", subpath="a/b"), MountRequest("/y", "data", subpath="c"))
    assert await sh(real, "cat /x/f; echo more >/y/g; ls /x /y", mounts=mounts) == "in\n/x:\nf\n\n/y:\ng\n"
    ident = await real.create("true", mounts=(MountRequest("/x", "data", subpath="nothing"),))
    with pytest.raises(Exception, match="the volume has no nothing"):
        await real.containers.start(T, ident)


async def test_files_are_copied_into_and_out_of_volumes_of_what_does_not_run(real: RealHouse) -> None:
    ident = await real.create("sh", "-c", "cat /data/note; echo answer >/data/answer", **DATA)
    await real.containers.archive_put(T, ident, "/data", body(packed("note", b"read me\n")))
    await real.containers.start(T, ident)
    assert await real.wait(ident) == 0
    assert await real.output(ident) == b"read me\n"
    _, content = await real.containers.archive_get(T, ident, "/data/answer")
    with await fetched(content) as tar:
        answer = tar.extractfile("answer")
        assert answer is not None and answer.read() == b"answer\n"
    exported = b"".join([chunk async for chunk in await real.containers.export(T, ident)])
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        assert not [name for name in tar.getnames() if name.startswith("data/")]
    assert [change async for changes in await real.containers.changes(T, ident) for change in changes]


async def test_a_daemon_that_comes_back_finds_its_volumes_plugged(real: RealHouse) -> None:
    ident = await real.run(
        "sh", "-c", "echo one >/data/f; echo up; while [ ! -e /data/go ]; do sleep 0.1; done", **DATA
    )
    await real.writes(ident, b"up\n")
    other = await real.create("true", **DATA)
    await real.reopen()
    with pytest.raises(Conflict, match='volume "data" is used by'):
        await real.containers.start(T, other)
    await real.containers.archive_put(T, ident, "/data", body(packed("go", b"")))
    assert await real.wait(ident) == 0
    assert await sh(real, "ls /data", **DATA) == "f\ngo\n"


async def test_a_volume_is_as_large_as_it_was_asked_for(real: RealHouse) -> None:
    mounts = (MountRequest("/data", "small", options={"size": "64m"}),)
    assert "No space left on device" in await sh(real, "dd if=/dev/zero of=/data/f bs=1M count=100", mounts=mounts)


async def test_a_file_system_that_a_guest_has_broken_fails_a_start_and_nothing_else(real: RealHouse) -> None:
    overwrite = (
        "mknod /tmp/disk b 8 0; dd if=/dev/zero of=/tmp/disk bs=1M count=4 conv=fsync; echo b >/proc/sysrq-trigger"
    )
    ident = await real.run("sh", "-c", overwrite, privileged=True, **DATA)
    assert await real.wait(ident) == 255
    for wish in (DATA, ONLY_READ):
        victim = await real.create("true", **wish)
        with pytest.raises(InvalidArgument, match='volume "data" holds no ext4 file system: if it is damaged'):
            await real.containers.start(T, victim)
        with pytest.raises(InvalidArgument, match='volume "data" holds no ext4'):
            await real.containers.archive_stat(T, victim, "/")
        await real.containers.remove(T, victim)
    await real.containers.remove(T, ident)
    assert real.cloud is not None
    await real.cloud.volumes.remove(T, "data")
    assert await sh(real, "ls -A /data", **DATA) == ""
