# SPDX-License-Identifier: Apache-2.0
"""What a container finds where it looks, and what its image cannot make of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from hypercell.base.errors import HypercellError, InvalidArgument, NotFound, Unsupported
from tests.guest.guest import Guest
from tests.guest.specifications import CAPABILITIES, config

pytestmark = [pytest.mark.vm, pytest.mark.root]

HOSTS = {"path": "/etc/hosts", "data": base64.b64encode(b"the host's\n").decode(), "mode": 0o644, "uid": 0, "gid": 0}
EVERYTHING = [*CAPABILITIES, "CAP_SYS_ADMIN"]
PRIVILEGED = dict.fromkeys(("bounding", "effective", "permitted"), EVERYTHING)


def tmpfs(destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


async def test_masked_and_read_only_paths_are_out_of_reach(guest: Guest) -> None:
    linux = {
        "maskedPaths": ["/proc/version", "/proc/not/there", "/sys/kernel", "/secret"],
        "readonlyPaths": ["/proc/sys", "/nowhere", "/fixed"],
    }
    await guest.run("c", "sh", "-c", "mkdir /secret /fixed; echo x >/secret/x; echo x >/fixed/x")
    script = (
        "cat /proc/version | wc -c; ls /sys/kernel /secret; echo y >/secret/y; echo y >/fixed/x; cat /fixed/x; "
        "echo y >/proc/sys/kernel/hostname; echo end"
    )
    seen = await guest.run("c", "sh", "-c", script, linux=linux)
    assert seen.stdout == b"0\n/secret:\n\n/sys/kernel:\nx\nend\n"
    assert seen.stderr.count(b"Read-only file system") == 3


async def set_traps(guest: Guest, container: str, *traps: str) -> None:
    """What an image could have: each `path:target` becomes a symlink in the container's root, which is kept."""
    script = 'for t; do n=/${t%%:*}; rm -rf $n; ln -s ${t#*:} $n; [ "$(readlink $n)" ] && echo $n; done'
    bare = config("sh", "-c", script, "sh", *traps)
    bare["mounts"] = []
    streams = await guest.create(container, bare)
    await guest.ask("container.start", container=container)
    made = await guest.read(streams.stdout)
    assert made.decode().split() == ["/" + trap.split(":")[0] for trap in traps], await guest.read(streams.stderr)
    await guest.exit(container)
    await guest.ask("container.delete", container=container)


async def test_an_image_full_of_symlinks_is_mounted_inside_itself(guest: Guest) -> None:
    """The symlinks of hostile-inputs A13: they lead to the machine's own places, which must stay as they are."""
    await set_traps(
        guest,
        "c",
        "dev:/../../../run/hypercell",
        "etc/resolv.conf:/srv/../../srv/trap",
        "etc/magic:/proc/self/root/etc/trap",
    )
    specification = config("sh", "-c", "cat /proc/mounts; ls -a /run /run/hypercell; cat /etc/resolv.conf")
    # The magic links of /proc are not followed at all.
    with pytest.raises(HypercellError, match="Symbolic link loop"):
        await guest.create("c", specification, files=[{**HOSTS, "path": "/etc/magic"}])
    streams = await guest.create("c", specification, files=[{**HOSTS, "path": "/etc/resolv.conf"}])
    await guest.ask("container.start", container="c")
    seen, errors = await guest.read(streams.stdout), await guest.read(streams.stderr)
    for place in (b" /run/hypercell tmpfs ", b" /srv/trap tmpfs "):
        assert place in seen, errors
    assert seen.endswith(b"the host's\n")
    # Nothing is seen of the machine's /run, and nothing was mounted there: another container finds it as ever.
    assert b"\ndisks\n" not in seen
    assert b"\ncontainers\n" not in seen
    assert (await guest.run("d", "cat", "/etc/hosts", files=[HOSTS])).stdout == b"the host's\n"


async def test_a_symlink_in_place_of_proc_or_sys_is_refused(guest: Guest) -> None:
    await set_traps(guest, "c", "proc:/srv")
    await set_traps(guest, "d", "sys:/srv")
    await set_traps(guest, "e", "sys:sys")
    for container, error in (("c", InvalidArgument), ("d", InvalidArgument), ("e", HypercellError)):
        with pytest.raises(error):
            await guest.create(container, config("true"))
    assert (await guest.ask("state"))["containers"] == []


async def test_tmpfs_is_as_large_and_as_open_as_it_was_asked_for(guest: Guest) -> None:
    mounts = [
        tmpfs("/tmp"),
        tmpfs("/small", "size=64k", "mode=700"),
        tmpfs("/data", "noexec", "nosuid"),
        tmpfs("/fixed", "ro"),
        tmpfs("/etc", "tmpcopyup"),
    ]
    script = (
        "stat -c '%n %a' /tmp /small /data /etc; "
        "dd if=/dev/zero of=/small/x bs=1k count=100 2>&1 | grep -o 'No space.*'; "
        "cat /bin/busybox >/data/cat; chmod 755 /data/cat; /data/cat /dev/null; "
        "touch /fixed/x; grep -c root /etc/passwd; echo x >/etc/new && echo fine"
    )
    seen = await guest.run("c", "sh", "-c", script, mounts=mounts)
    assert seen.stdout.decode().splitlines() == [
        "/tmp 1777",
        "/small 700",
        "/data 1777",
        "/etc 755",
        "No space left on device",
        "1",
        "fine",
    ]
    assert b"Permission denied" in seen.stderr
    assert b"/fixed/x: Read-only file system" in seen.stderr


async def test_a_read_only_root_has_writable_mounts(guest: Guest) -> None:
    specification = config(
        "sh", "-c", "touch /x; touch /tmp/x && touch /dev/shm/x && echo z >/dev/null && cat /etc/hosts; : >/etc/hosts"
    )
    specification["root"]["readonly"] = True
    specification["mounts"].append(tmpfs("/tmp"))
    streams = await guest.create("c", specification, files=[HOSTS])
    await guest.ask("container.start", container="c")
    assert await guest.read(streams.stdout) == b"the host's\n"
    assert (await guest.read(streams.stderr)).count(b"Read-only file system") == 2


async def test_containers_share_a_bind_of_the_machine_as_they_were_told(guest: Guest) -> None:
    """What is bound lies on a disk, behind symlinks that its tenants may have made."""
    script = "mkdir -p /share; echo data >/share/file; ln -s / /share/up; exec sleep 1000"
    await guest.start("first", "sh", "-c", script)
    while (await guest.execute("first", "test", "-L", "/share/up")).code != 0:
        pass
    base = "/run/hypercell/disks/rw/first/upper/share"

    def bind(source: str, *options: str) -> dict[str, Any]:
        return {"destination": "/shared", "type": "bind", "source": source, "options": list(options)}

    seen = await guest.run("c", "sh", "-c", "cat /shared/file; touch /shared/x", mounts=[bind(base, "rbind", "ro")])
    assert seen.stdout == b"data\n"
    assert b"Read-only file system" in seen.stderr
    written = await guest.run("c", "sh", "-c", "echo new >/shared/file", mounts=[bind(base, "bind", "rprivate")])
    assert written.code == 0
    # The symlink leads to the top of the disk, not to that of the machine.
    inside = await guest.run("c", "ls", "/shared", mounts=[bind(f"{base}/up", "bind")])
    assert {b"first", b"c"} <= set(inside.stdout.split()), inside.stdout
    with pytest.raises(NotFound):
        await guest.create("c", config("true", mounts=[bind(f"{base}/none", "bind")]))
    with pytest.raises(NotFound):
        await guest.create("c", config("true", mounts=[bind(f"{base}/up/run/hypercell", "bind")]))


async def test_what_cannot_be_mounted_is_refused_and_leaves_nothing(guest: Guest) -> None:
    for entry, error in (
        (tmpfs("/x", "idmap"), Unsupported),
        (tmpfs("/x", "size=nonsense"), InvalidArgument),
        (tmpfs("x"), InvalidArgument),
        ({"destination": "/x", "type": "nonsense"}, Unsupported),
    ):
        with pytest.raises(error):
            await guest.create("c", config("true", mounts=[entry]))
    assert (await guest.ask("state"))["containers"] == []
    assert (await guest.run("c", "true")).code == 0


async def test_a_container_may_nest_cgroups_below_its_own(guest: Guest) -> None:
    specification = config("sleep", "1000", capabilities=PRIVILEGED)
    for entry in specification["mounts"]:
        if entry["destination"] == "/sys/fs/cgroup":
            entry["options"].remove("ro")
    await guest.create("c", specification)
    await guest.ask("container.start", container="c")
    # As systemd does: everything into a leaf, then controllers for the children.
    script = (
        "cd /sys/fs/cgroup; mkdir init other; for p in $(cat cgroup.procs); do echo $p >init/cgroup.procs; done; "
        "echo '+pids +memory' >cgroup.subtree_control && cat cgroup.subtree_control; cat /proc/self/cgroup"
    )
    seen = await guest.execute("c", "sh", "-c", script)
    assert seen.stdout == b"memory pids\n0::/init\n", seen.stderr
    # An exec finds a place beside init; stats, pause and delete reach all of it.
    assert (await guest.execute("c", "cat", "/proc/self/cgroup")).stdout == b"0::/init\n"
    await guest.ask("container.pause", container="c")
    await guest.ask("container.resume", container="c")
    assert [row["args"] for row in (await guest.ask("container.processes", container="c"))["processes"]] == [
        ["sleep", "1000"]
    ]
    await guest.ask("container.delete", container="c", force=True)
    assert (await guest.run("after", "cat", "/proc/self/cgroup")).stdout == b"0::/\n"
