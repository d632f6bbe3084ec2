# SPDX-License-Identifier: Apache-2.0
"""How a hypervisor is started."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hypercell.vm import cgroups, spawn
from hypercell.vm.cgroups import CgroupTree

pytestmark = pytest.mark.root

USER = 2_999_999
LIBRARY_SIGNALS = 1 << 31 | 1 << 32
"""Signals 32 and 33, which the C library keeps to itself, and ignores in what it spawns until somebody needs them."""
_REPORT = r"""
echo "user $(id -u) $(id -g) $(id -G)"
echo "umask $(umask)"
echo "directory $(pwd)"
echo "core $(ulimit -c)"
echo "environment $(env | grep -v '^_=\|^PWD=\|^SHLVL=' | cut -d= -f1 | sort | tr '\n' ' ')"
echo "ignored $(grep SigIgn /proc/$$/status | cut -f2)"
echo "blocked $(grep SigBlk /proc/$$/status | cut -f2)"
echo "session $(cut -d' ' -f6 /proc/$$/stat) $$"
echo "input $(readlink /proc/$$/fd/0)"
for n in $(ls /proc/$$/fd); do [ $n -lt 3 ] || echo "descriptor $n"; done
"""


@pytest.fixture
def stray() -> Iterator[int]:
    """A descriptor that a child would inherit."""
    descriptor = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    yield descriptor
    os.close(descriptor)


def report(
    command: list[str],
    groups: list[int],
    inherited: list[int],
    entrances: Sequence[int] = (),
    forking: bool = False,
) -> tuple[int, list[str]]:
    """Its exit status and what it says."""
    reader, writer = os.pipe()
    pid = spawn.spawn(command, USER, groups, list(entrances), inherited, writer, forking)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def test_a_hypervisor_starts_with_what_it_needs_and_nothing_else(stray: int) -> None:
    wanted = os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup hypercelld` does
    try:
        status, said = report(["/bin/sh", "-c", _REPORT], [12345], [wanted])
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(wanted)
    assert status == 0
    facts = dict(line.partition(" ")[::2] for line in said if not line.startswith("descriptor"))
    assert facts["user"] == f"{USER} {USER} {USER} 12345"
    assert facts["umask"] == "0077"
    assert facts["directory"] == "/"
    assert facts["core"] == "0"
    assert facts["environment"].split() == ["LANG", "PATH"]
    assert int(facts["ignored"], 16) & ~LIBRARY_SIGNALS == 0
    assert int(facts["blocked"], 16) == 0
    session, pid = facts["session"].split()
    assert session == pid
    assert facts["input"] == "/dev/null"
    assert f"descriptor {wanted}" in said
    assert f"descriptor {stray}" not in said


def test_a_hypervisor_has_no_groups_unless_it_is_given_some() -> None:
    assert report(["/bin/sh", "-c", "id -G"], [], []) == (0, [str(USER)])


_RIGHTS = r"""
import os
kept = [line.split() for line in open("/proc/self/status") if line.startswith("Cap") and not line.startswith("CapBnd")]
print(os.getresuid(), os.getgroups(), sorted({(name, int(value, 16)) for name, value in kept}))
for attempt in (lambda: os.kill(1, 0), lambda: os.listdir("/proc/1/fd"), lambda: os.chroot("/")):
    try:
        attempt()
        print("was possible")
    except PermissionError:
        pass
try:
    os.setresgid(77, 77, 77)
    os.setresuid(77, 77, 77)
except PermissionError:
    pass
print(os.getresuid(), os.getresgid())
"""


@pytest.mark.parametrize("forking", [False, True])
def test_only_a_hypervisor_that_forks_may_become_another_user_and_no_more(forking: bool) -> None:
    status, said = report(["/usr/bin/python3", "-I", "-S", "-c", _RIGHTS], [], [], forking=forking)
    rights = 1 << 6 | 1 << 7 if forking else 0  # CAP_SETGID, CAP_SETUID
    sets = [(name, rights) for name in ("CapAmb:", "CapEff:", "CapInh:", "CapPrm:")]
    user = 77 if forking else USER
    assert status == 0
    assert said == [f"{(USER,) * 3} [] {sets}", f"{(user,) * 3} {(user,) * 3}"]


def test_what_the_daemon_is_stays_as_it_was() -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE), os.umask(0o22), Path.cwd()
    report(["/bin/true"], [], [])
    assert (resource.getrlimit(resource.RLIMIT_CORE), os.umask(before[1]), Path.cwd()) == before


def test_a_program_that_is_missing_is_told() -> None:
    try:
        status, said = report(["/nonexistent/qemu"], [], [])
    except FileNotFoundError:
        return
    assert status == 127
    assert said == ["launch: /nonexistent/qemu: No such file or directory"]


def test_a_hypervisor_is_in_its_control_groups_before_it_begins(tmp_path: Path) -> None:
    tree = CgroupTree.of_host(tmp_path)
    groups = tree.create("vm")
    entrances = cgroups.entrances(groups)
    try:
        assert len(entrances) == len(groups)
        status, said = report(["/bin/cat", "/proc/self/cgroup"], [], [], entrances)
    finally:
        for entrance in entrances:
            os.close(entrance)
        cgroups.remove(groups)
    assert status == 0
    assert sum(line.endswith(f"/{tree.parent}/vm") for line in said) == len(groups)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["1"],
        ["0", "", "", "", "/bin/true"],
        ["x", "", "", "", "/bin/true"],
        ["-1", "", "", "", "/bin/true"],
        ["1,2", "", "", "", "/bin/true"],
        ["1", "", "", "999", "/bin/true"],
        ["1", "", "999", "", "/bin/true"],
        ["1", "", "x", "", "/bin/true"],
        ["1", "a", "", "", "/bin/true"],
        ["99999999999", "", "", "", "/bin/true"],
        ["1", ",".join(["1"] * 33), "", "", "/bin/true"],
    ],
)
def test_the_launcher_refuses_nonsense(arguments: list[str]) -> None:
    if not spawn.LAUNCHER.exists():
        pytest.skip("the launcher is not built: make launch")
    done = subprocess.run([spawn.LAUNCHER, *arguments], capture_output=True, check=False)
    assert done.returncode == 127
    assert done.stderr.startswith(b"launch: ")
