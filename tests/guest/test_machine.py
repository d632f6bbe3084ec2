# SPDX-License-Identifier: Apache-2.0
"""The VM as a whole: clock, randomness, names, disks, figures, archives, pausing."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time

import pytest

from hypercell.base.errors import Conflict, InvalidArgument, NotFound
from tests.guest.conftest import Boot, random_text
from tests.guest.guest import Guest

pytestmark = [pytest.mark.vm, pytest.mark.root]


async def test_a_machine_is_fresh_until_it_is_configured(boot: Boot) -> None:
    guest = await boot(configured=False)
    assert guest.agent.welcome.fresh
    assert guest.agent.welcome.version == 1
    features = "exec archive stats seccomp pause update network clock sync changes volumes binds"
    assert guest.agent.welcome.features == set(features.split())
    assert not (await guest.ask("state"))["configured"]
    with pytest.raises(InvalidArgument):
        await guest.ask("configure", entropy="wrong")
    assert not (await guest.ask("state"))["configured"]
    first = await guest.ask("configure", hostname="somebody", clock_ns=10**18)
    assert first["hostname"] == "somebody"
    assert 10**18 <= first["clock_ns"] < 10**18 + 10**11
    assert not (await guest.reconnect()).welcome.fresh
    seen = await guest.run("c", "date", "+%s")
    assert 10**9 <= int(seen.stdout) < 10**9 + 60


async def test_the_boot_id_is_the_kernels_and_not_made_before_there_is_entropy(boot: Boot) -> None:
    guest = await boot(configured=False)
    assert guest.agent.welcome.boot_id == ""
    assert (await guest.ask("configure", hostname="h"))["boot_id"] == ""
    assert (await guest.reconnect()).welcome.boot_id == ""
    first = await guest.ask("configure", entropy=random_text())
    assert (await guest.reconnect()).welcome.boot_id == first["boot_id"]
    second = await guest.ask("configure", entropy=random_text())
    assert second["boot_id"] == first["boot_id"]
    assert second["random"] != first["random"]
    seen = await guest.run("c", "cat", "/proc/sys/kernel/random/boot_id")
    assert seen.stdout.decode().strip() == first["boot_id"]


async def test_a_machine_that_rehearsed_its_identity_is_still_nobody(boot: Boot) -> None:
    guest = await boot(configured=False)
    proofs = set()
    for number in range(2):
        answer = await guest.ask(
            "configure", hostname=f"h{number}", clock_ns=10**18, entropy=random_text(), rehearsal=True
        )
        assert (answer["boot_id"], answer["hostname"]) == ("", f"h{number}")
        assert 10**18 <= answer["clock_ns"] < 10**18 + 10**11
        proofs.add(answer["random"])
        welcome = (await guest.reconnect()).welcome
        assert (welcome.fresh, welcome.boot_id) == (True, "")
        assert not (await guest.ask("state"))["configured"]
    first = await guest.ask("configure", hostname="somebody", entropy=random_text(), clock_ns=time.time_ns())
    welcome = (await guest.reconnect()).welcome
    assert (welcome.fresh, welcome.boot_id) == (False, first["boot_id"])
    assert len(first["boot_id"]) == 36
    assert len({*proofs, first["random"]}) == 3
    late = await guest.ask("configure", entropy=random_text(), rehearsal=True)
    assert late["boot_id"] == first["boot_id"]
    assert not (await guest.reconnect()).welcome.fresh


async def test_a_rehearsal_must_be_yes_or_no(boot: Boot) -> None:
    guest = await boot(configured=False)
    with pytest.raises(InvalidArgument):
        await guest.ask("configure", hostname="h", rehearsal="yes")


async def test_the_clock_can_be_set_again(guest: Guest) -> None:
    await guest.ask("configure", clock_ns=time.time_ns() + 86400 * 10**9)
    await guest.ask("configure", clock_ns=time.time_ns())
    seen = await guest.run("c", "date", "+%s")
    assert abs(int(seen.stdout) - time.time()) < 30


async def test_figures_are_told(guest: Guest) -> None:
    streams = await guest.start("c", "sh", "-c", "dd if=/dev/zero of=/tmp/x bs=1M count=8; echo ready; sleep 1000; :")
    assert await guest.agent.output(streams.stdout).read() == b"ready\n"
    await asyncio.sleep(0.2)
    stats = await guest.ask("container.stats", container="c")
    assert stats["cpu"]["usage_ns"] > 0
    assert stats["memory"]["usage"] > 0
    assert stats["pids"]["current"] >= 1
    assert stats["interfaces"] == []
    assert stats["cpus"] == 1
    assert 64 << 20 < stats["memory_total"] <= 256 << 20
    answer = await guest.ask("container.processes", container="c")
    rows = answer["processes"]
    assert answer["memory_total"] == stats["memory_total"]
    assert {row["pid"]: row["ppid"] for row in rows}[1] == 0
    child = {row["ppid"]: row for row in rows}[1]
    assert child["args"] == ["sleep", "1000"]
    assert (child["uid"], child["ruid"], child["rgid"], child["tty"]) == (0, 0, 0, "?")
    assert (child["pgid"], child["sid"], child["tpgid"]) == (1, 1, -1)
    assert (child["priority"], child["nice"], child["threads"], child["processor"]) == (20, 0, 1, 0)
    assert stats["memory_total"] > child["vsz"] >= child["rss"] >= 4096


async def test_limits_can_be_changed_while_it_runs(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    resources = {"memory": {"limit": 32 << 20}, "pids": {"limit": 17}}
    await guest.ask("container.update", container="c", resources=resources)
    stats = await guest.ask("container.stats", container="c")
    assert (stats["memory"]["limit"], stats["pids"]["limit"]) == (32 << 20, 17)
    resources = {"pids": {"limit": -1}, "cpu": {"quota": -1, "shares": 512}}
    await guest.ask("container.update", container="c", resources=resources)
    assert (await guest.ask("container.stats", container="c"))["pids"]["limit"] == 0


async def test_a_paused_container_stands_still(guest: Guest) -> None:
    streams = await guest.start("c", "sh", "-c", "while :; do echo tick; sleep 0.05; done")
    output = guest.agent.output(streams.stdout)
    await output.read()
    await guest.ask("container.pause", container="c")
    for op, members in (
        ("container.pause", {}),
        ("process.exec", {"process": "x", "spec": {"args": ["true"], "cwd": "/"}}),
    ):
        with pytest.raises(Conflict, match="paused"):
            await guest.ask(op, container="c", **members)
    assert (await guest.ask("state"))["containers"][0]["status"] == "paused"
    before = (await guest.state("c"))["stdout"]["end"]
    await asyncio.sleep(0.5)
    assert (await guest.state("c"))["stdout"]["end"] == before
    await guest.ask("container.resume", container="c")
    while output.position <= before:
        await output.read()
    await guest.ask("container.pause", container="c")
    await guest.ask("container.delete", container="c", force=True)


async def test_files_come_and_go_as_archives(guest: Guest) -> None:
    await guest.start("c", "sh", "-c", "mkdir /srv/d; echo hello >/srv/d/f; ln -s f /srv/d/l; exec sleep 1000")
    while (await guest.execute("c", "test", "-L", "/srv/d/l")).code != 0:
        pass
    stat = (await guest.ask("archive.stat", container="c", path="/srv/d"))["stat"]
    assert stat["name"] == "d"
    stream = guest.agent.new_stream()
    assert (await guest.ask("archive.get", container="c", path="/srv/d", stream=stream))["stat"] == stat
    with tarfile.open(fileobj=io.BytesIO(await guest.read(stream))) as archive:
        assert archive.getnames() == ["d", "d/f", "d/l"]
        member = archive.extractfile("d/f")
        assert member is not None
        assert member.read() == b"hello\n"
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("sub/file")
        entry.size, entry.uid, entry.mode = 200000, 1000, 0o640
        archive.addfile(entry, io.BytesIO(bytes(200000)))
    stream = guest.agent.new_stream()
    unpacking = asyncio.create_task(guest.ask("archive.put", container="c", path="/srv", stream=stream))
    await guest.write(stream, made.getvalue())
    await unpacking
    seen = await guest.execute("c", "stat", "-c", "%s %u %a", "/srv/sub/file")
    assert seen.stdout == b"200000 1000 640\n"
    with pytest.raises(NotFound):
        await guest.ask("archive.stat", container="c", path="/srv/missing")
    with pytest.raises(NotFound):
        await guest.ask("archive.get", container="c", path="/srv/missing", stream=guest.agent.new_stream())
    # A stopped container can still be read and written.
    await guest.ask("process.signal", container="c", process="init", signal=9)
    await guest.exit("c")
    assert (await guest.ask("archive.stat", container="c", path="/srv/sub"))["stat"]["name"] == "sub"
    await guest.ask("container.delete", container="c")


async def test_an_archive_that_nobody_reads_can_be_closed(guest: Guest) -> None:
    await guest.start("c", "sleep", "1000")
    stream = guest.agent.new_stream()
    await guest.ask("archive.get", container="c", path="/", stream=stream)
    await guest.ask("stream.close", stream=stream)
    with pytest.raises(NotFound):
        await guest.ask("stream.close", stream=stream)
    await guest.ask("container.delete", container="c", force=True)


async def test_a_sync_is_answered(guest: Guest) -> None:
    await guest.run("c", "touch", "/srv/x")
    assert await guest.ask("sync") == {}


async def test_several_processors_work_too(boot: Boot) -> None:
    guest = await boot(vcpus=2)
    assert (await guest.run("c", "grep", "-c", "^processor", "/proc/cpuinfo")).stdout == b"2\n"
    runs = [guest.run(f"c{number}", "seq", "3000") for number in range(3)]
    assert all(ended.stdout.endswith(b"\n3000\n") for ended in await asyncio.gather(*runs))
