# SPDX-License-Identifier: Apache-2.0
"""A control group for each VM, on hosts with cgroup v1, v2 or both (Linux, Documentation/admin-guide/cgroup-*).

On v1 the group lies below the daemon's own, so that what limits the daemon limits its VMs. On v2 a group with
processes may not have such children, and the group lies at the top of what is mounted; the VMs then outlive the
daemon's service too. What is missing on a host is left out and told by `missing`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from hypercell.base.config import Config
from hypercell.base.digits import is_digits
from hypercell.vm.limits import Limits

V1_CONTROLLERS = ("memory", "cpuacct", "cpu", "pids")
V2_CONTROLLERS = ("cpu", "memory", "pids")
PERIOD_US = 100_000
_DEFAULT_RUN = Config().run


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of one group; None where the host does not count."""

    cpu_ns: int | None = None
    oom_kills: int | None = None
    """Processes of the group that the host's kernel killed for want of memory: hypervisors, never what a guest's own
    kernel kills inside."""
    own_limit: bool | None = None
    """Whether those had gone beyond the group's own limit, rather than the host run out; None if nobody can tell."""


def parent_name(run: Path) -> str:
    """`hypercell`, with a suffix for a daemon that does not use the ordinary run directory."""
    if run == _DEFAULT_RUN:
        return "hypercell"
    return "hypercell-" + hashlib.sha256(bytes(run)).hexdigest()[:8]


def _value(path: Path | str) -> str:
    """What stands in a file, nothing if it is missing: at each end of a VM most of some twenty are."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
        try:
            return file.read().decode(errors="replace")
        except OSError:
            return ""


def _write(path: Path, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _unescape(field_: str) -> str:
    return field_.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy and the directory in which the group of all our VMs lies."""

    unified: bool
    controllers: frozenset[str]
    home: Path


def _own_paths(text: str) -> dict[str, str]:
    """/proc/self/cgroup: controller (empty for v2) -> path."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        for name in names.split(","):
            paths[name] = path
    return paths


def find_hierarchies(mountinfo: str, own: str) -> list[Hierarchy]:
    """From the text of /proc/self/mountinfo and /proc/self/cgroup."""
    paths, found = _own_paths(own), []
    seen: set[str] = set()
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if len(fields) < 5 or len(tail) < 3 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        root, point = _unescape(fields[3]), Path(_unescape(fields[4]))
        if tail[0] == "cgroup2":
            names = frozenset(_value(point / "cgroup.controllers").split())
            found.append(Hierarchy(True, names, point))
            continue
        names = frozenset(tail[-1].split(",")) & frozenset(V1_CONTROLLERS)
        if names and not names & seen:
            seen |= names
            path = paths.get(min(names), "/")
            inside = os.path.relpath(path, root) if path.startswith(root) else "."
            home = point / inside
            found.append(Hierarchy(False, names, home if home.is_dir() else point))
    return found


@dataclass(slots=True)
class CgroupTree:
    """The groups of one daemon's VMs."""

    parent: str
    hierarchies: list[Hierarchy] = field(default_factory=list)

    @classmethod
    def of_host(cls, run: Path) -> CgroupTree:
        mounts, own = Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
        return cls(parent_name(run), find_hierarchies(mounts, own))

    def missing(self) -> list[str]:
        """Of `cpu`, `memory` and `pids`, what this host cannot limit or count for a VM."""
        there = frozenset[str]().union(*(hierarchy.controllers for hierarchy in self.hierarchies))
        return [name for name in V2_CONTROLLERS if name not in there]

    def directories(self, vm_id: str) -> list[Path]:
        """Where the groups of *vm_id* are, or would be."""
        return [hierarchy.home / self.parent / vm_id for hierarchy in self._used()]

    def create(self, vm_id: str, limits: Limits = Limits()) -> list[Path]:  # noqa: B008 -- it cannot change
        """Make the groups, with *limits*. What the host refuses is left out.

        Raises `OSError` only for a host that is out of memory or space.
        """
        made = []
        for hierarchy in self._used():
            group = hierarchy.home / self.parent / vm_id
            try:
                _make(group, hierarchy)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.ENOMEM):
                    raise
                continue
            made.append(group)
            _limit(group, hierarchy, limits)
        return made

    def limit(self, vm_id: str, limits: Limits) -> None:
        """Change the *limits* of groups that exist; 0 leaves a limit as it is. What the host refuses is left out."""
        for hierarchy in self._used():
            _limit(hierarchy.home / self.parent / vm_id, hierarchy, limits)

    def _used(self) -> list[Hierarchy]:
        """All v1 hierarchies that count for us, and v2 if it has a controller of ours or there is nothing else."""
        old = [hierarchy for hierarchy in self.hierarchies if not hierarchy.unified]
        new = [hierarchy for hierarchy in self.hierarchies if hierarchy.unified]
        return old + [hierarchy for hierarchy in new if not old or hierarchy.controllers & set(V2_CONTROLLERS)]


def _make(group: Path, hierarchy: Hierarchy) -> None:
    for last in (False, True):
        if hierarchy.unified:
            group.parent.mkdir(exist_ok=True)
            _delegate(hierarchy.home, hierarchy.controllers)
            _delegate(group.parent, hierarchy.controllers)
        try:
            group.mkdir()
        except FileNotFoundError:
            if last:  # once, another VM's end may have taken the parent away
                raise
            group.parent.mkdir(exist_ok=True)
        else:
            return


def _delegate(directory: Path, available: frozenset[str]) -> None:
    """Let children of *directory* have controllers; each by itself, because one refusal refuses all."""
    control = directory / "cgroup.subtree_control"
    enabled = _value(control).split()
    for name in V2_CONTROLLERS:
        if name in available and name not in enabled:
            with contextlib.suppress(OSError):
                control.write_text(f"+{name}")


def _limit(group: Path, hierarchy: Hierarchy, limits: Limits) -> None:
    files: dict[str, str] = {}
    if limits.memory and "memory" in hierarchy.controllers:
        # And as much swap on v2; on v1 both together, which cannot be said before the first.
        v1, v2 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), ("memory.max", "memory.swap.max")
        files.update(dict.fromkeys(v2 if hierarchy.unified else v1, str(limits.memory)))
    if limits.tasks and "pids" in hierarchy.controllers:
        files["pids.max"] = str(limits.tasks)
    if limits.cpu_quota > 0:
        quota = max(1000, int(limits.cpu_quota * PERIOD_US))
        if hierarchy.unified:
            files["cpu.max"] = f"{quota} {PERIOD_US}"
        elif "cpu" in hierarchy.controllers:
            files["cpu.cfs_period_us"], files["cpu.cfs_quota_us"] = str(PERIOD_US), str(quota)
    for name, value in files.items():
        with contextlib.suppress(OSError):
            _write(group / name, value)


def entrances(groups: list[Path]) -> list[int]:
    """Descriptors through which a process joins *groups*, by writing `0` to each. A group that refuses is left out;
    metering then uses /proc.

    On v1, for one that has a single thread: moving a whole process, or another one, has the kernel wait for all
    processors (some hundredths of a second, on an idle machine).
    """
    opened = []
    for group in groups:
        for name in ("tasks", "cgroup.procs"):
            with contextlib.suppress(OSError):
                opened.append(os.open(group / name, os.O_WRONLY | os.O_CLOEXEC))
                break
    return opened


def usage(groups: list[Path]) -> Usage:
    cpu: int | None = None
    kills: int | None = None
    own_limit: bool | None = None
    for group in groups:
        if is_digits(text := _value(f"{group}/cpuacct.usage").strip(), longest=20):
            cpu = int(text)
        for line in _value(f"{group}/cpu.stat").splitlines():
            if line.startswith("usage_usec "):
                cpu = int(line.split()[1]) * 1000
        for file in ("memory.oom_control", "memory.events"):
            for line in _value(f"{group}/{file}").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    kills = int(count)
                elif name == "oom":
                    own_limit = int(count) > 0
        if _value(f"{group}/memory.failcnt").strip() == "0":  # v1 counts full page caches too: only none says something
            own_limit = False
    return Usage(cpu, kills, own_limit)


def remove(groups: list[Path]) -> None:
    """Kill what is in *groups* and remove them, and their parents with the last. What is gone is no error."""
    for group in groups:
        for attempt in range(50):
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                for pid in _value(group / "cgroup.procs").split():
                    with contextlib.suppress(OSError):
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(0.002 * attempt)  # the kernel is still taking the process apart
            else:
                break
        with contextlib.suppress(OSError):
            group.parent.rmdir()
