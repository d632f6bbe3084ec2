# SPDX-License-Identifier: Apache-2.0
"""What a process may do: system calls, capabilities, devices."""

from __future__ import annotations

import errno
import os

import pytest

from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.cloud import seccomp
from tests.guest.guest import Guest
from tests.guest.specifications import CAPABILITIES, config
from tests.guest.test_isolation import status

pytestmark = [pytest.mark.vm, pytest.mark.root]

DENY_ALL = {"allow": False, "access": "rwm"}
LOG = {"path": "/dev/kernel-log", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}


def default_profile(guest: Guest) -> dict[str, object]:
    profile = seccomp.resolve("", CAPABILITIES, guest.agent.welcome.kernel)
    assert profile is not None
    return profile


async def test_docker_s_default_profile_holds_and_lets_programs_run(guest: Guest) -> None:
    script = "ls / >/dev/null && seq 10 | sort | md5sum && cat /proc/self/status && busybox unshare -U true"
    free = await guest.run("free", "sh", "-c", script)
    assert (free.code, status(free.stdout)["Seccomp"]) == (0, "0"), free.stderr
    bound = await guest.run("bound", "sh", "-c", script, linux={"seccomp": default_profile(guest)})
    assert bound.code != 0
    assert bound.stderr == f"unshare: unshare(0x10000000): {os.strerror(errno.EPERM)}\n".encode()
    assert (status(bound.stdout)["Seccomp"], status(bound.stdout)["NoNewPrivs"]) == ("2", "0")
    # Without new privileges the filter comes last of all, and is no weaker.
    strict = await guest.run(
        "strict", "sh", "-c", script, linux={"seccomp": default_profile(guest)}, noNewPrivileges=True
    )
    assert strict.stderr == bound.stderr
    assert (status(strict.stdout)["Seccomp"], status(strict.stdout)["NoNewPrivs"]) == ("2", "1")


async def test_a_filter_can_kill_and_its_arguments_are_looked_at(guest: Guest) -> None:
    rules = [
        {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"},
        {
            "names": ["kill"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": errno.EXDEV,
            "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}],
        },
    ]
    linux = {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}}
    killed = await guest.run("c", "sync", linux=linux)
    assert (killed.code, killed.event["signal"]) == (128 + 31, 31)
    script = "sleep 1000 & kill -10 $!; kill -12 $! && echo sent"
    seen = await guest.run("c", "sh", "-c", script, linux=linux)
    assert seen.stdout == b"sent\n"
    assert b"nvalid cross-device link" in seen.stderr


async def test_what_cannot_be_filtered_is_refused(guest: Guest) -> None:
    for profile, error in (
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, Unsupported),
        ({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}, Unsupported),
        ({"defaultAction": "NONSENSE"}, InvalidArgument),
    ):
        with pytest.raises(error):
            await guest.create("c", config("true", linux={"seccomp": profile}))
    with pytest.raises(InvalidArgument, match="CAP_NONSENSE"):
        await guest.create("c", config("true", capabilities={"bounding": ["CAP_NONSENSE"]}))
    assert (await guest.ask("state"))["containers"] == []


async def test_a_user_keeps_ambient_capabilities_only(guest: Guest) -> None:
    raw = ["CAP_NET_RAW", "CAP_KILL"]
    capabilities = {
        "bounding": raw,
        "effective": raw,
        "permitted": raw,
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    user = {"uid": 1000, "gid": 1000}
    seen = status((await guest.run("c", "cat", "/proc/self/status", capabilities=capabilities, user=user)).stdout)
    assert (seen["CapBnd"], seen["CapEff"], seen["CapAmb"]) == (f"{0x2020:016x}", f"{0x20:016x}", f"{0x20:016x}")


async def test_devices_are_used_only_as_the_rules_allow(guest: Guest) -> None:
    script = (
        "echo x >/dev/null && head -c 2 /dev/zero | wc -c; ls -l /dev/kernel-log; "
        "echo hello >/dev/kernel-log && echo written; "
        "busybox mknod /dev/disk b 254 0 && dd if=/dev/disk count=1 of=/dev/null"
    )
    linux = {"devices": [LOG], "resources": {"devices": [DENY_ALL]}}
    denied = await guest.run("denied", "sh", "-c", script, linux=linux)
    assert denied.stdout.startswith(b"2\ncrw-rw-rw-")
    assert b"written" not in denied.stdout
    assert denied.stderr.count(b"Operation not permitted") == 2, denied.stderr
    rule = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "w"}
    linux["resources"] = {"devices": [DENY_ALL, rule]}
    allowed = await guest.run("allowed", "sh", "-c", script, linux=linux)
    assert b"written" in allowed.stdout
    # Rules can be changed in a running container; without any, only the default devices are there.
    await guest.start("c", "sleep", "1000", linux={"devices": [LOG]})
    write = ("sh", "-c", "echo x >/dev/kernel-log")
    assert (await guest.execute("c", *write)).code != 0
    await guest.ask("container.update", container="c", resources={"devices": [{"allow": True, "access": "rwm"}]})
    assert (await guest.execute("c", *write)).code == 0
    await guest.ask("container.update", container="c", resources={"devices": [DENY_ALL]})
    assert (await guest.execute("c", *write)).code != 0


async def test_a_user_is_looked_up_in_a_hostile_image(guest: Guest) -> None:
    script = "rm /etc/passwd; mkfifo /etc/passwd; ln -s group /etc/x; rm /etc/group; ln -s x /etc/group"
    await guest.run("c", "sh", "-c", script)
    with pytest.raises(InvalidArgument, match="unable to find user worker"):
        await guest.create("c", config("true", user={"username": "worker"}))
    assert (await guest.ask("state"))["containers"] == []
    seen = status((await guest.run("c", "cat", "/proc/self/status", user={"username": "12:34"})).stdout)
    assert (seen["Uid"].split(), seen["Gid"].split(), seen["Groups"].split()) == (["12"] * 4, ["34"] * 4, ["34"])
