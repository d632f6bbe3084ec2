# SPDX-License-Identifier: Apache-2.0
"""Templates that are saved to memory, and their clones (docs/adr/0010-templates-and-pool.md)."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hypercell.base.errors import InvalidArgument, VmFailed
from hypercell.vm import memfd, migration
from hypercell.vm.driver import ExitReason
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.saved_template import SavedTemplate
from tests.support.house import eventually
from tests.support.vm import open_files, settings_for
from tests.vm.inspecting import ask
from tests.vm.rig import Rig, cloned, traceless_rig

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(params=["own", "distribution"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    config = settings_for("saved", tmp_path, kernel=request.param)
    async with traceless_rig(config) as rig:
        yield rig


@pytest.fixture
async def template(rig: Rig) -> AsyncIterator[SavedTemplate]:
    made = await rig.template()
    assert isinstance(made, SavedTemplate)
    yield made
    made.close()


async def test_a_clone_holds_exactly_the_descriptors_it_needs(rig: Rig, template: SavedTemplate) -> None:
    vm = await cloned(rig, template, disks={})
    await restored(vm)
    found = [re.sub(r"\[\d+\]", "", name) for name in open_files(vm.pid)]
    files = sorted(name for name in found if not name.startswith(("socket:", "anon_inode:")))
    log = str(rig.config.vms / vm.id / "log.pipe")
    memory = "/memfd:hypercell-memory (deleted)"
    assert files == sorted(["/dev/null", log, log, memory, memory])


async def restored(vm: QemuVm) -> None:
    """It runs, and has let go of the state from which it was restored, which comes just after."""

    async def gone() -> bool:
        return not any("hypercell-state" in name for name in open_files(vm.pid))

    await vm.running()
    await eventually(gone)


_VANDAL = r"""
import ctypes, errno, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
directory, user, done = sys.argv[1], int(sys.argv[2]), []
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
for name in os.listdir(directory):
    path = f"{directory}/{name}"
    if "memfd:hypercell" not in os.readlink(path):
        continue
    file = os.open(path, os.O_RDWR)
    size = os.fstat(file).st_size
    attempts = {
        "write": lambda: os.pwrite(file, b"evil", 1 << 20),
        "shrink": lambda: os.ftruncate(file, 4096),
        "grow": lambda: os.ftruncate(file, size + 4096),
        "map": lambda: mmap.mmap(file, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    }
    for what, attempt in attempts.items():
        try:
            attempt()
            print(what, "was possible")
        except PermissionError:
            done.append(what)
    if libc.fallocate(file, 3, ctypes.c_long(0), ctypes.c_long(1 << 20)) == 0 or ctypes.get_errno() != errno.EPERM:
        print("a hole was possible")
    done.append("hole")
print(sorted(done))
"""


async def test_a_hypervisor_cannot_alter_the_template(rig: Rig, template: SavedTemplate) -> None:
    vm = await cloned(rig, template)
    await restored(vm)
    vandal = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-S", "-c", _VANDAL, f"/proc/{vm.pid}/fd", str(vm.record.uid)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert vandal.stdout.strip() == str(sorted(["write", "shrink", "grow", "map", "hole"] * 2))


async def test_a_template_is_sealed(template: SavedTemplate) -> None:
    assert memfd.sealed(template._memory)
    assert memfd.sealed(template._state)
    assert template.bytes > 1024**2


async def test_a_state_that_was_cut_off_ends_the_clone_with_a_reason(rig: Rig, template: SavedTemplate) -> None:
    size = os.fstat(template._state).st_size
    for kept in (0, 100, size // 2):
        damaged = memfd.create("damaged")
        os.pwrite(damaged, os.pread(template._state, kept, 0), 0)
        bad = SavedTemplate(template.key, os.dup(template._memory), damaged)
        vm = await cloned(rig, bad)
        bad.close()
        end = await vm.wait()
        assert end.reason is ExitReason.FAILED, kept
        assert end.detail
        with pytest.raises(VmFailed) as caught:
            await vm.connect_agent()
        assert caught.value.reason == ExitReason.FAILED
        with pytest.raises(VmFailed):
            await vm.pause()
        await rig.driver.discard(vm.id)


async def test_a_state_of_another_machine_ends_the_clone_with_a_reason(rig: Rig, template: SavedTemplate) -> None:
    noise = memfd.create("noise")
    os.pwrite(noise, os.urandom(100_000), 0)
    vm = await cloned(rig, SavedTemplate(template.key, os.dup(template._memory), noise))
    assert (await vm.wait()).reason is ExitReason.FAILED


async def test_a_clone_that_is_told_nonsense_is_ended(
    rig: Rig, template: SavedTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "_CAPABILITIES", {"capabilities": [{"capability": "x-none", "state": True}]})
    vm = await cloned(rig, template)
    end = await vm.wait()
    assert end.reason is ExitReason.FAILED
    assert "could not be restored" in end.detail


async def test_a_template_of_a_kernel_that_was_replaced_is_refused(rig: Rig, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(rig.kernel.initrd.read_bytes())
    initrd.chmod(0o644)
    spec = rig.specification(kernel=replace(rig.kernel, initrd=initrd))
    before = rig.driver.template_key(spec)
    os.utime(initrd, ns=(1, 1))
    assert rig.driver.template_key(spec) != before
    template = SavedTemplate(before, memfd.create("memory"), memfd.create("state"))
    with pytest.raises(InvalidArgument):
        await rig.driver.launch(replace(spec, template=template))
    template.close()


async def test_a_clone_is_in_no_network_before_it_has_an_address(rig: Rig, template: SavedTemplate) -> None:
    vm = await cloned(rig, template)
    await vm.running()
    assert (await ask(vm, "query-migrate-parameters"))["announce-rounds"] == 0
