# SPDX-License-Identifier: Apache-2.0
"""What containers of one VM see of each other, what they may do, and as whom."""

from __future__ import annotations

import pytest

from hypercell.base.errors import Conflict, InvalidArgument, Unsupported
from tests.guest.guest import Guest
from tests.guest.specifications import CAPABILITIES, config

pytestmark = [pytest.mark.vm, pytest.mark.root]


def status(text: bytes) -> dict[str, str]:
    """/proc/self/status as a dict."""
    return dict(line.split(":\t", 1) for line in text.decode().splitlines() if ":\t" in line)


async def test_two_containers_see_nothing_of_each_other(guest: Guest) -> None:
    await guest.start("a", "sh", "-c", "echo secret >/srv/mine; mkdir /dev/shm/mine; exec sleep 1000")
    await guest.start("b", "sleep", "1000")
    script = "ps -o pid,args; ls /srv /dev/shm; hostname; ls /run /proc/1/root/srv; cat /proc/mounts"
    seen = (await guest.execute("b", "sh", "-c", script)).stdout.decode()
    assert "secret" not in seen
    assert "mine" not in seen
    assert "/a/" not in seen
    assert [line.split() for line in seen.splitlines()[1:2]] == [["1", "sleep", "1000"]]
    assert (await guest.execute("b", "cat", "/proc/self/cgroup")).stdout == b"0::/\n"
    assert (await guest.execute("b", "sh", "-c", "ls -d /sys/class/net/*")).stdout == b"/sys/class/net/lo\n"


async def test_the_first_process_is_pid_1_and_an_exec_joins_it(guest: Guest) -> None:
    await guest.start("c", "sh", "-c", "echo $$; exec sleep 1000")
    seen = await guest.execute(
        "c", "sh", "-c", "cd /proc/self/ns; for n in *; do readlink $n; readlink /proc/1/ns/$n; done"
    )
    assert seen.code == 0
    lines = seen.stdout.decode().split()
    assert lines[::2] == lines[1::2]
    assert len(lines) >= 14


async def test_a_container_may_join_the_namespaces_of_another(guest: Guest) -> None:
    await guest.start("pod", "sleep", "1000")
    await guest.execute("pod", "hostname", "renamed")
    joined = dict.fromkeys(("pid", "network", "ipc", "uts"), "container:pod")
    ended = await guest.run("c", "sh", "-c", "hostname; ps -o args", namespaces=joined)
    assert b"denied" in ended.stderr or ended.stdout.startswith(b"box\n")
    assert b"sleep 1000" in ended.stdout
    with pytest.raises(Unsupported):
        await guest.create("d", config("true", namespaces={"mount": "container:pod"}))
    with pytest.raises(InvalidArgument):
        await guest.create("d", config("true", namespaces={"pid": "/proc/1/ns/pid"}))
    await guest.ask("process.signal", container="pod", process="init", signal=9)
    await guest.exit("pod")
    with pytest.raises(Conflict):
        await guest.create("d", config("true", namespaces={"pid": "container:pod"}))


async def test_no_descriptor_of_the_agent_reaches_a_container(guest: Guest) -> None:
    await guest.start("other", "cat", stdin=True)
    seen = await guest.run("c", "ls", "-l", "/proc/self/fd", data=b"")
    kept = [line.split()[8:] for line in seen.stdout.decode().splitlines() if "->" in line]
    assert sorted(entry[0] for entry in kept) in (["0", "1", "2"], ["0", "1", "2", "3"])  # 3: the directory itself
    assert all(entry[2].startswith("pipe:") for entry in kept if entry[0] in "012")
    joined = await guest.execute("other", "ls", "/proc/self/fd")
    assert joined.stdout.split() == [b"0", b"1", b"2", b"3"]


async def test_a_user_is_found_in_the_image(guest: Guest) -> None:
    script = "id -u; id -g; id -G; echo $HOME; umask; touch /tmp/x; echo >/dev/stdout"
    seen = await guest.run("c", "sh", "-c", script, user={"username": "worker", "umask": 0o27})
    assert (seen.code, seen.stderr) == (0, b"")
    assert seen.stdout.decode().split() == ["1000", "1000", "1000", "77", "/home/worker", "0027"]
    numbers = await guest.run("c", "id", user={"uid": 5, "gid": 6, "additionalGids": [7, 8]})
    assert numbers.stdout == b"uid=5 gid=6 groups=7,8\n"


async def test_a_process_has_the_rights_it_was_given_and_no_more(guest: Guest) -> None:
    privileges = {
        "noNewPrivileges": True,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 111, "hard": 222}],
        "oomScoreAdj": 321,
        "cwd": "/home/made/on/the/way",
    }
    seen = await guest.run(
        "c", "sh", "-c", "pwd; ulimit -n; cat /proc/self/oom_score_adj /proc/self/status", **privileges
    )
    assert seen.stdout.decode().split()[:3] == ["/home/made/on/the/way", "111", "321"]
    fields = status(seen.stdout)
    assert fields["NoNewPrivs"] == "1"
    assert fields["CapEff"] == fields["CapBnd"] == "00000000a80425fb"
    assert len(CAPABILITIES) == 0xA80425FB.bit_count()
    none = await guest.run("c", "cat", "/proc/self/status", capabilities=None)
    fields = status(none.stdout)
    assert fields["SigBlk"] == fields["SigIgn"] == "0" * 16
    assert status(none.stdout)["CapEff"] == "0" * 16
    user = await guest.run("c", "cat", "/proc/self/status", user={"uid": 1000, "gid": 1000})
    assert status(user.stdout)["CapEff"] == "0" * 16


async def test_an_exec_is_filtered_like_its_container(guest: Guest) -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    await guest.start("c", "sh", "-c", "mkdir /tmp/x; sleep 1000", linux={"seccomp": seccomp})
    seen = await guest.execute("c", "mkdir", "/tmp/y")
    assert (seen.code, seen.stderr) == (1, b"mkdir: can't create directory '/tmp/y': No space left on device\n")
    strict = await guest.execute("c", "mkdir", "/tmp/y", noNewPrivileges=True, capabilities=None)
    assert strict.code == 1
    assert b"No space left" in strict.stderr


async def test_a_container_cannot_change_the_kernel_s_knobs(guest: Guest) -> None:
    script = "echo 1 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger; cat /proc/kcore; mount -t tmpfs x /tmp"
    seen = await guest.run("c", "sh", "-c", script)
    assert seen.code != 0
    assert seen.stderr.count(b"Read-only file system") == 2
    assert b"denied" in seen.stderr or b"not permitted" in seen.stderr
    allowed = {"net.ipv4.ip_unprivileged_port_start": "99", "kernel.shmmax": "123456"}
    names = "/proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax"
    ours = await guest.run("c", "cat", *names.split(), linux={"sysctl": allowed})
    assert ours.stdout.split() == [b"99", b"123456"]
    with pytest.raises(InvalidArgument, match="not in a separate"):
        await guest.create("d", config("true", linux={"sysctl": {"kernel.panic": "1"}}))


async def test_files_of_the_host_are_bound_inside_the_root(guest: Guest) -> None:
    files = [
        {"path": "/etc/hosts", "data": "MTI3LjAuMC4xIGJveAo=", "mode": 0o644, "uid": 0, "gid": 0},
        {"path": "/srv/new/secret", "data": "eA==", "mode": 0o400, "uid": 1000, "gid": 1000},
    ]
    seen = await guest.run("c", "sh", "-c", "cat /etc/hosts; stat -c '%a %u' /srv/new/secret", files=files)
    assert seen.stdout == b"127.0.0.1 box\n400 1000\n"


async def test_a_root_without_a_writable_layer_is_read_only(guest: Guest) -> None:
    root = {"lower": [{"disk": "root", "fstype": "erofs"}], "upper": None}
    missing = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]}
    specification = config("sh", "-c", "touch /x; touch /tmp/x && echo fine", mounts=[missing])
    specification["mounts"] = [
        entry for entry in specification["mounts"] if entry["destination"] in ("/proc", "/dev", "/tmp")
    ]
    # The image of the tests has no /proc and no /dev, and nothing can be made in it.
    with pytest.raises(Exception, match=r"[Rr]ead-only|/proc"):
        await guest.create("c", specification, root=root)
    memory = await guest.run(
        "c",
        "sh",
        "-c",
        "dd if=/dev/zero of=/big bs=1M count=40",
        root={"lower": root["lower"], "upper": {"tmpfs": {"size": 16 << 20}}},
    )
    assert b"No space left" in memory.stderr
    assert (await guest.run("c", "ls", "/big")).code != 0


async def test_a_user_namespace_has_its_map_and_its_own_root(guest: Guest) -> None:
    specification = config("sh", "-c", "id -u; cat /proc/self/uid_map; hostname; readlink /proc/self/ns/user")
    specification["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": 0, "size": 60000}]
    specification["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    streams = await guest.create("c", specification)
    await guest.ask("container.start", container="c")
    seen = await guest.read(streams.stdout)
    errors = await guest.read(streams.stderr)
    assert seen.split()[:5] == [b"0", b"0", b"0", b"60000", b"box"], errors
    outside = await guest.run("d", "readlink", "/proc/self/ns/user")
    assert outside.stdout != seen.splitlines()[-1] + b"\n"
