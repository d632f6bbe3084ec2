# SPDX-License-Identifier: Apache-2.0
"""What an overlay's upper directory tells (`docker diff`), and a container's root as an archive (`docker export`)."""

from __future__ import annotations

import asyncio
import io
import tarfile

import pytest

from hypercell.base.errors import NotFound
from tests.guest.guest import Guest
from tests.guest.specifications import IN_MEMORY, config
from tests.guest.test_archives import archive, member, put

pytestmark = [pytest.mark.vm, pytest.mark.root]


async def changes(guest: Guest, container: str = "c") -> list[str]:
    """All records but the last, which says that these were all."""
    stream = guest.agent.new_stream()
    await guest.ask("container.changes", container=container, stream=stream)
    *records, end, nothing = (await guest.read(stream)).decode().split("\0")
    assert (end, nothing) == (".", "")
    return records


async def export(guest: Guest, container: str = "c") -> tarfile.TarFile:
    stream = guest.agent.new_stream()
    await guest.ask("container.export", container=container, stream=stream)
    return tarfile.open(fileobj=io.BytesIO(await guest.read(stream)))


async def work(guest: Guest, script: str) -> None:
    ended = await guest.execute("c", "sh", "-c", f"set -e; {script}")
    assert ended.code == 0, ended.stderr


@pytest.mark.parametrize("in_memory", [False, True], ids=["disk", "memory"])
async def test_a_real_overlay_tells_what_was_added_modified_and_deleted(guest: Guest, in_memory: bool) -> None:
    await guest.start("c", "sleep", "1000", **({"root": IN_MEMORY} if in_memory else {}))
    assert await changes(guest) == [], "what the runtime mounts and makes to mount upon is no change"
    await work(
        guest,
        "echo 1 >/srv/new; echo 1 >>/etc/group; rm /srv/plain; mkdir -p /home/worker/a/b; rm -rf /tmp; mkdir -p /tmp;"
        "chmod 700 /root; cat /etc/passwd >/dev/null; touch -c -r /srv/script /srv/script; rm /bin/yes; mkdir /bin/yes;"
        "echo x >/dev/shm/hidden; echo x >/dev/hidden",
    )
    assert await changes(guest) == [
        *("C/bin", "C/bin/yes", "C/etc", "C/etc/group", "C/home", "C/home/worker", "A/home/worker/a"),
        *("A/home/worker/a/b", "C/root", "C/srv", "A/srv/new", "D/srv/plain", "C/tmp"),
    ]


async def test_a_directory_that_was_made_anew_tells_of_what_is_gone_at_its_top(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    await work(guest, "rm -rf /home; mkdir -p /home/other; rm -rf /srv; mkdir /srv; echo 'no program' >/srv/plain")
    assert await changes(guest) == [
        *("C/home", "A/home/other", "D/home/worker", "C/srv", "C/srv/plain", "D/srv/script"),
    ]


async def test_names_of_any_bytes_come_through(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    names = ["new\nline", "in\udcffvalid", "-rf", "\x01"]
    await put(guest, "/root", archive(*(member(name) for name in names)))
    stream = guest.agent.new_stream()
    await guest.ask("container.changes", container="c", stream=stream)
    found = (await guest.read(stream)).decode(errors="surrogateescape").split("\0")
    assert found == ["C/root", *sorted(f"A/root/{name}" for name in names), ".", ""]


async def test_a_tree_without_end_is_refused_in_words(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    await work(guest, "cd /root; for i in $(seq 1100); do mkdir d; cd d; done")
    stream = guest.agent.new_stream()
    await guest.ask("container.changes", container="c", stream=stream)
    assert (await guest.read(stream)).split(b"\0")[-2].endswith(b"is more than 1024 levels deep")
    # An archive of it ends with one byte more, by which it is known for broken off.
    stream = guest.agent.new_stream()
    await guest.ask("container.export", container="c", stream=stream)
    assert len(await guest.read(stream)) % 512 == 1


async def test_an_export_has_the_root_and_nothing_that_is_mounted_in_it(guest: Guest) -> None:
    tmpfs = {"destination": "/srv/volume", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}
    await guest.create("c", config("sleep", "1000", mounts=[tmpfs]))
    await guest.ask("container.start", container="c")
    await work(
        guest,
        "echo x >/srv/volume/hidden; echo x >/dev/shm/hidden; echo 1 >/srv/new; ln /srv/new /srv/same; rm /srv/plain;"
        "chown 1000:1000 /srv/new; chmod 4755 /srv/new; ln -s /nowhere /srv/link; mkfifo /srv/pipe",
    )
    with await export(guest) as tar:
        found = {info.name: info for info in tar.getmembers()}
        content = tar.extractfile("srv/new")
        assert content is not None and content.read() == b"1\n"
    assert found.keys() >= {"dev", "proc", "sys", "srv/volume", "etc/passwd", "bin/busybox"}
    assert not [name for name in found if name.startswith(("dev/", "proc/", "sys/", "srv/volume/", "/", "."))]
    assert "srv/plain" not in found
    new, same = found["srv/new"], found["srv/same"]
    assert (new.uid, new.gid, new.mode) == (1000, 1000, 0o4755)
    assert (same.type, same.linkname) == (tarfile.LNKTYPE, "srv/new")
    assert found["srv/link"].linkname == "/nowhere" and found["srv/pipe"].isfifo()
    assert found["tmp"].mode == 0o1777


async def test_a_reader_that_stops_holds_up_nothing_but_itself(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    stopped = guest.agent.new_stream()
    guest.agent.output(stopped)
    await guest.ask("container.export", container="c", stream=stopped)
    with await export(guest) as tar:
        assert "etc/passwd" in tar.getnames()
    assert await changes(guest) == []
    await guest.ask("container.delete", container="c", force=True)
    with pytest.raises(NotFound):
        await changes(guest)


async def test_several_ask_at_once(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    await work(guest, "for i in $(seq 300); do echo $i >/root/$i; done")
    found = await asyncio.gather(*(changes(guest) for _ in range(4)))
    assert all(len(each) == 301 for each in found)
