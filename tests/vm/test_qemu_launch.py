# SPDX-License-Identifier: Apache-2.0
"""A launch that fails, is cut short or is cancelled at any step leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypercell.base.config import Config
from hypercell.base.errors import HypercellError, NoSpace, Unavailable, VmFailed
from hypercell.vm import cgroups, command_line, open_driver, processes, records, spawn
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import ExitReason, VmSpec
from hypercell.vm.qemu import QemuDriver
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.records import VmDirectory
from tests.support.vm import greet, guest_kernel, specification, traces

pytestmark = [pytest.mark.vm, pytest.mark.root]


class Died(BaseException):
    """The daemon was killed at this very place: no clean-up of ours may run."""


@pytest.fixture
def spec(config: Config, tmp_path: Path) -> VmSpec:
    return specification(tmp_path, guest_kernel(config))


def broken(error: Callable[[], BaseException], real: Any = None) -> Any:
    """A function that fails, after *real* was called, and awaited, if there is one."""

    async def fail_later(*arguments: Any, **options: Any) -> Any:
        await real(*arguments, **options)
        raise error()

    def fail(*arguments: Any, **options: Any) -> Any:
        if real is not None:
            real(*arguments, **options)
        raise error()

    return fail_later if inspect.iscoroutinefunction(real) else fail


Step = tuple[object, str, bool]
"""Whose function it is, its name, and whether it fails only when it has done its work."""


def name_of(step: Step) -> str:
    return f"{step[1]}-{'after' if step[2] else 'before'}"


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space")


def executed(real: Callable[..., int]) -> Callable[..., int]:
    """As *real*, which starts a process; returns when that has become the hypervisor, by whose name it is found.
    A daemon that comes back takes longer than that, and one that lives knows the number."""

    def started(command: list[str], *other: Any) -> int:
        pid = real(command, *other)
        while not (Path("/proc") / str(pid) / "cmdline").read_bytes().startswith(command[0].encode() + b"\0"):
            time.sleep(0.001)
        return pid

    return started


@contextlib.contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, step: Step, error: Callable[[], BaseException]) -> Iterator[None]:
    """The step fails with *error*. A daemon that died of it cleans nothing up."""
    owner, name, after = step
    with monkeypatch.context() as patch:
        real = getattr(owner, name)
        if name == "spawn":
            real = executed(real)
        patch.setattr(owner, name, broken(error, real if after else None))
        if error is Died:
            patch.setattr(QemuDriver, "discard", broken(Died))
            patch.setattr("hypercell.vm.qemu.end_child", broken(Died))
        yield


STEPS: list[Step] = [
    (VmDirectory, "create", False),
    (VmDirectory, "write_record", False),
    (VmDirectory, "write_record", True),
    (CgroupTree, "create", False),
    (CgroupTree, "create", True),
    (VmDirectory, "listen", False),
    (VmDirectory, "listen", True),
    (spawn, "open_boot_file", False),
    (spawn, "open_disk", False),
    (VmDirectory, "make_pipe", False),
    (command_line, "build", False),
    (spawn, "spawn", False),
    (spawn, "spawn", True),
    (cgroups, "entrances", False),
    (processes.Process, "child", False),
    (QemuVm, "attach", False),
]


@pytest.mark.parametrize("step", STEPS, ids=name_of)
async def test_a_failure_at_any_step_leaves_nothing(
    qemu: QemuDriver, config: Config, spec: VmSpec, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces(config)
    with failing(monkeypatch, step, full), pytest.raises(NoSpace):
        await qemu.launch(spec)
    assert traces(config) == before
    agent = await greet(await qemu.launch(spec))
    await agent.close()


@pytest.mark.parametrize("step", STEPS[1:], ids=name_of)
async def test_what_a_killed_daemon_left_is_known_and_removed(
    config: Config, spec: VmSpec, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces(config)
    first = open_driver(config)
    with failing(monkeypatch, step, Died), pytest.raises(Died):
        await first.launch(spec)
    successor = open_driver(config)
    assert await successor.known() == [spec.id]
    assert isinstance(successor, QemuDriver)
    if step[1] != "attach":
        assert await successor.adopt(spec.id) is None
    await successor.discard(spec.id)
    assert await successor.known() == []
    left = traces(config)
    assert (left.directories, left.groups, left.processes) == (before.directories, before.groups, before.processes)
    await first.close()
    await successor.close()


async def test_a_launch_that_is_cancelled_leaves_nothing(qemu: QemuDriver, config: Config, spec: VmSpec) -> None:
    before = traces(config)
    for delay in (0, 0.001, 0.005, 0.02):
        task = asyncio.create_task(qemu.launch(spec))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await qemu.discard(spec.id)
        assert traces(config) == before


async def test_a_hypervisor_that_refuses_says_why(qemu: QemuDriver, spec: VmSpec, tmp_path: Path) -> None:
    nothing = tmp_path / "no-kernel"
    nothing.write_bytes(b"")
    with pytest.raises(VmFailed, match="qemu") as caught:
        await qemu.launch(replace(spec, kernel=replace(spec.kernel, vmlinux=nothing, uniprocessor=nothing)))
    assert caught.value.reason == ExitReason.FAILED
    assert await qemu.known() == []


async def test_a_vm_larger_than_the_machine_is_told_in_words_of_its_size(qemu: QemuDriver, spec: VmSpec) -> None:
    with pytest.raises(Unavailable, match=f"no memory for a VM of {1024 * 1024} MiB: choose a smaller one"):
        await qemu.launch(replace(spec, memory_mib=1024 * 1024))
    assert await qemu.known() == []


async def test_a_hypervisor_that_is_not_installed_is_told(config: Config, spec: VmSpec) -> None:
    driver = open_driver(replace(config, qemu="no-such-hypervisor"))
    with pytest.raises(VmFailed) as caught:
        await driver.launch(spec)
    assert caught.value.reason == "hypervisor-failed"
    assert "install" in caught.value.hint
    await driver.close()


async def test_a_hypervisor_that_never_speaks_is_given_up(
    config: Config, spec: VmSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexec sleep 1000\n")
    mute.chmod(0o755)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and "pytest" in path.name:
            path.chmod(path.stat().st_mode | 0o011)
    monkeypatch.setattr("hypercell.vm.qemu_vm._GREETING", 0.3)
    driver = open_driver(replace(config, qemu=str(mute)))
    before = traces(config)
    with pytest.raises(VmFailed) as caught:
        await driver.launch(spec)
    assert caught.value.reason == "hypervisor-failed"
    assert traces(config) == before
    await driver.close()


async def test_a_hypervisor_that_hangs_is_adopted_all_the_same(
    qemu: QemuDriver, config: Config, spec: VmSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = await qemu.launch(spec)
    await qemu.close()
    os.kill(vm.pid, signal.SIGSTOP)
    monkeypatch.setattr("hypercell.vm.qemu_vm._GREETING", 0.2)
    successor = open_driver(config)
    adopted = await successor.adopt(spec.id)
    assert adopted is not None
    with pytest.raises(HypercellError):
        await adopted.pause()
    await adopted.kill()
    assert (await adopted.wait()).reason is ExitReason.SHUTDOWN
    await successor.discard(spec.id)
    await successor.close()


async def test_a_process_that_has_the_number_of_a_dead_hypervisor_is_left_alone(
    qemu: QemuDriver, config: Config, spec: VmSpec
) -> None:
    directory = VmDirectory.create(config.vms, spec.id)
    innocent = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        directory.write_record(records.Record(spec.id, config.uid_base, "tcg", [], pid=innocent.pid, start_time=1))
        directory.close()
        assert await qemu.adopt(spec.id) is None
        assert innocent.returncode is None
        assert processes.start_time(innocent.pid) > 0
        assert await qemu.known() == []
    finally:
        innocent.kill()
        await innocent.wait()


async def test_links_where_a_vms_directory_should_be_are_removed_not_followed(
    qemu: QemuDriver, config: Config, spec: VmSpec, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    config.vms.mkdir(parents=True)
    (config.vms / spec.id).symlink_to(precious)
    with pytest.raises(HypercellError):
        await qemu.launch(spec)
    assert await qemu.adopt(spec.id) is None
    assert await qemu.known() == []
    assert (precious / "file").read_text() == "kept"
