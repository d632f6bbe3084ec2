# SPDX-License-Identifier: Apache-2.0
"""Control groups on hosts of each kind, played by directories."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hypercell.base.config import Config
from hypercell.vm import cgroups
from hypercell.vm.cgroups import CgroupTree, find_hierarchies, parent_name
from hypercell.vm.limits import Limits


def v1_line(point: Path, controllers: str, root: str = "/") -> str:
    return f"30 25 0:26 {root} {point} rw,nosuid - cgroup cgroup rw,{controllers}\n"


def v2_line(point: Path, root: str = "/") -> str:
    return f"31 25 0:27 {root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"


@pytest.fixture
def v1(tmp_path: Path) -> tuple[str, str]:
    """mountinfo and /proc/self/cgroup of a v1 host whose daemon is in a group of its own for memory."""
    for name in ("memory/own/group", "cpu,cpuacct", "pids"):
        (tmp_path / name).mkdir(parents=True)
    mounts = v1_line(tmp_path / "memory", "memory") + v1_line(tmp_path / "cpu,cpuacct", "cpu,cpuacct")
    mounts += v1_line(tmp_path / "pids", "pids") + "22 1 0:20 / /proc rw - proc proc rw\nnonsense\n"
    return mounts, "5:pids:/\n4:memory:/own/group\n2:cpu,cpuacct:/\n1:name=systemd:/\n"


def v2(point: Path, controllers: str = "cpuset cpu io memory pids") -> str:
    point.mkdir(parents=True, exist_ok=True)
    (point / "cgroup.controllers").write_text(controllers + "\n")
    (point / "cgroup.subtree_control").write_text("")
    return v2_line(point)


def test_on_v1_a_vm_lies_below_the_daemons_own_group(v1: tuple[str, str], tmp_path: Path) -> None:
    tree = CgroupTree("hypercell", find_hierarchies(*v1))
    assert tree.missing() == []
    made = tree.create("vm")
    homes = ("cpu,cpuacct", "memory/own/group", "pids")
    assert sorted(made) == [tmp_path / home / "hypercell/vm" for home in homes]
    assert made == tree.directories("vm")


def test_on_v1_a_quota_is_written_where_the_processor_is_controlled(v1: tuple[str, str], tmp_path: Path) -> None:
    CgroupTree("hypercell", find_hierarchies(*v1)).create("vm", Limits(cpu_quota=1.5))
    group = tmp_path / "cpu,cpuacct/hypercell/vm"
    assert (group / "cpu.cfs_quota_us").read_text() == "150000"
    assert (group / "cpu.cfs_period_us").read_text() == "100000"


def test_on_v2_controllers_are_passed_down_to_a_group_at_the_top(tmp_path: Path) -> None:
    tree = CgroupTree("hypercell", find_hierarchies(v2(tmp_path / "c"), "0::/system.slice/hypercell.service\n"))
    assert tree.missing() == []
    assert tree.create("vm", Limits(1 << 30, 97, 0.25)) == [tmp_path / "c/hypercell/vm"]
    assert (tmp_path / "c/cgroup.subtree_control").read_text() == "+pids"
    written = {path.name: path.read_text() for path in (tmp_path / "c/hypercell/vm").iterdir()}
    assert written == {
        "cpu.max": "25000 100000",
        "memory.max": "1073741824",
        "memory.swap.max": "1073741824",
        "pids.max": "97",
    }


def test_on_v1_memory_and_tasks_are_limited_each_where_it_is_controlled(v1: tuple[str, str], tmp_path: Path) -> None:
    groups = CgroupTree("hypercell", find_hierarchies(*v1)).create("vm", Limits(1 << 30, 97))
    written = {str(path.relative_to(tmp_path)): path.read_text() for group in groups for path in group.iterdir()}
    assert written == {
        "memory/own/group/hypercell/vm/memory.limit_in_bytes": "1073741824",
        "memory/own/group/hypercell/vm/memory.memsw.limit_in_bytes": "1073741824",
        "pids/hypercell/vm/pids.max": "97",
    }


def test_a_vm_may_use_its_guests_memory_and_what_qemu_needs_beside_it() -> None:
    small, large = Limits.of_vm(1, 128), Limits.of_vm(8, 16384)
    assert 128 + 200 < small.memory >> 20 < 128 + 300 and small.tasks >= 1 + 64 + 5
    assert 16384 + 400 < large.memory >> 20 < 16384 * 1.1 and large.tasks == small.tasks + 7


def test_on_a_hybrid_host_the_empty_v2_tree_is_left_alone(v1: tuple[str, str], tmp_path: Path) -> None:
    mounts, own = v1
    tree = CgroupTree("hypercell", find_hierarchies(mounts + v2(tmp_path / "unified", ""), own + "0::/\n"))
    tree.create("vm")
    assert not (tmp_path / "unified/hypercell").exists()


def test_a_controller_moved_to_v2_is_used_there(v1: tuple[str, str], tmp_path: Path) -> None:
    mounts, own = v1
    only_cpu = "\n".join(line for line in mounts.splitlines() if "memory" not in line) + "\n"
    tree = CgroupTree("hypercell", find_hierarchies(only_cpu + v2(tmp_path / "unified", "memory"), own))
    assert tree.missing() == []
    assert tmp_path / "unified/hypercell/vm" in tree.create("vm")


def test_a_host_without_control_groups_is_told_and_tolerated() -> None:
    tree = CgroupTree("hypercell", find_hierarchies("22 1 0:20 / /proc rw - proc proc rw\n", ""))
    assert tree.missing() == ["cpu", "memory", "pids"]
    assert tree.create("vm", Limits(1, 1, 1.0)) == []
    assert cgroups.usage([]) == cgroups.Usage()


def test_a_read_only_hierarchy_is_left_out(tmp_path: Path) -> None:
    mounts = v1_line(Path("/proc/sys"), "memory")
    assert CgroupTree("hypercell", find_hierarchies(mounts, "4:memory:/\n")).create("vm") == []


def test_a_container_that_sees_a_part_of_the_tree_stays_in_it(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    mounts = v1_line(tmp_path / "memory", "memory", root="/docker/abc")
    for own in ("/docker/abc", "/elsewhere", "/docker/abc/not/visible"):
        (hierarchy,) = find_hierarchies(mounts, f"4:memory:{own}\n")
        assert hierarchy.home.resolve() == tmp_path / "memory"


def test_mount_points_with_spaces_are_understood(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    escaped = str(tmp_path / "a b").replace(" ", "\\040")
    (hierarchy,) = find_hierarchies(v1_line(Path(escaped), "memory"), "4:memory:/\n")
    assert hierarchy.home.resolve() == tmp_path / "a b"


def test_usage_is_read_from_either_version(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for group in (old, new):
        group.mkdir()
    (old / "cpuacct.usage").write_text("123456789\n")
    (old / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (new / "cpu.stat").write_text("usage_usec 77\nuser_usec 70\n")
    (new / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert cgroups.usage([old]) == cgroups.Usage(123456789, 2)
    assert cgroups.usage([new]) == cgroups.Usage(77000, 1, own_limit=True)


def test_who_ran_out_of_memory_is_told_where_the_host_counts_it(tmp_path: Path) -> None:
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    for count, own in (("0\n", False), ("7\n", None)):
        (tmp_path / "memory.failcnt").write_text(count)
        assert cgroups.usage([tmp_path]) == cgroups.Usage(None, 1, own)
    (tmp_path / "memory.failcnt").unlink()
    (tmp_path / "memory.oom_control").unlink()
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 0\noom_kill 1\noom_group_kill 0\n")
    assert cgroups.usage([tmp_path]) == cgroups.Usage(None, 1, own_limit=False)


def test_removal_takes_the_parent_with_the_last_vm(tmp_path: Path) -> None:
    one, other = tmp_path / "hypercell/one", tmp_path / "hypercell/other"
    for group in (one, other):
        group.mkdir(parents=True)
    cgroups.remove([one])
    assert other.exists()
    cgroups.remove([other, tmp_path / "hypercell/never"])
    assert not (tmp_path / "hypercell").exists()


def test_daemons_with_other_directories_have_other_parents(tmp_path: Path) -> None:
    names = {parent_name(Config().run), parent_name(tmp_path / "a"), parent_name(tmp_path / "b")}
    assert len(names) == 3
    assert parent_name(Config().run) == "hypercell"


def _join(groups: list[Path], pid: int) -> None:
    for entrance in cgroups.entrances(groups):
        os.write(entrance, str(pid).encode())
        os.close(entrance)


@pytest.mark.root
def test_removal_ends_what_is_left_in_a_group(tmp_path: Path) -> None:
    tree = CgroupTree.of_host(tmp_path)
    groups = tree.create("vm")
    process = subprocess.Popen(["sleep", "1000"])
    try:
        _join(groups, process.pid)
        cgroups.remove(groups)
        if groups:
            assert process.wait(10) == -9
        assert not any(group.exists() or group.parent.exists() for group in groups)
    finally:
        process.kill()
        process.wait()


_GREEDY = """
import sys, threading, time
sys.stdin.readline()
if sys.argv[1] == "memory":
    held = b"x" * (512 << 20)
else:
    try:
        for _ in range(200):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    except RuntimeError:
        sys.exit(7)
"""


@pytest.mark.root
@pytest.mark.parametrize(("what", "controller", "ends"), [("memory", "memory", -9), ("threads", "pids", 7)])
def test_who_breaks_out_into_a_hypervisor_gets_no_more_than_it_has(
    tmp_path: Path, what: str, controller: str, ends: int
) -> None:
    tree = CgroupTree.of_host(tmp_path)
    if controller in tree.missing():
        pytest.skip(f"this host has no {controller} controller")
    groups = tree.create("vm", Limits(memory=64 << 20, tasks=20))
    process = subprocess.Popen([sys.executable, "-c", _GREEDY, what], stdin=subprocess.PIPE)
    try:
        _join(groups, process.pid)
        process.communicate(b"go\n", timeout=60)
        assert process.returncode == ends
        assert bool(cgroups.usage(groups).oom_kills) is (what == "memory")
    finally:
        process.kill()
        process.wait()
        cgroups.remove(groups)
