# SPDX-License-Identifier: Apache-2.0
"""Making a template, cloning it and claiming a VM: a failure or the daemon's death at any step leaves nothing."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base.config import Config
from hypercell.base.errors import HypercellError, NoSpace
from hypercell.vm import cgroups, memfd, migration, open_driver, processes, spawn
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import Template, Vm, VmSpec
from hypercell.vm.qemu import QemuDriver
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.records import VmDirectory
from hypercell.vm.slots import Slots
from hypercell.vm.template import QemuTemplate
from tests.support.vm import greet, guest_kernel, specification, traces
from tests.vm.test_qemu_launch import STEPS, Died, Step, broken, failing, full, name_of

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture
def spec(config: Config, tmp_path: Path) -> VmSpec:
    return specification(tmp_path, guest_kernel(config))


@pytest.fixture
async def template(qemu: QemuDriver, config: Config, tmp_path: Path) -> AsyncIterator[Template]:
    made = await qemu.make_template(specification(tmp_path, guest_kernel(config), disks={}), settle)
    yield made
    made.close()


async def settle(vm: Vm) -> None:
    await (await greet(vm)).close()


async def swept(config: Config, before: tuple[str, ...], *, known: list[str] | None) -> None:
    """The next daemon finds what is left, if *known* says what that is, and removes it."""
    successor = open_driver(config)
    left = await successor.known()
    if known is not None:
        assert left == known
    for vm_id in left:
        await successor.discard(vm_id)
    await successor.close()
    after = traces(config)
    assert after.directories == before
    assert (after.groups, after.processes) == ((), ())


TEMPLATE_STEPS: list[Step] = [
    (memfd, "create", False),
    *STEPS[:6],
    (VmDirectory, "listen", True),
    (spawn, "open_boot_file", False),
    (VmDirectory, "make_pipe", False),
    (spawn, "spawn", False),
    (spawn, "spawn", True),
    (cgroups, "join", True),
    (processes.Process, "child", False),
    (QemuVm, "attach", False),
    (QemuVm, "attach", True),
    (QemuVm, "save", False),
    (migration, "_status", False),
    (QemuVm, "save", True),
    (memfd, "seal", False),
    (memfd, "seal", True),
]


@pytest.mark.parametrize("step", TEMPLATE_STEPS, ids=name_of)
async def test_a_template_that_cannot_be_made_leaves_nothing(
    qemu: QemuDriver, config: Config, spec: VmSpec, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces(config)
    with failing(monkeypatch, step, full), pytest.raises(NoSpace):
        await qemu.make_template(spec, settle)
    assert traces(config) == before


@pytest.mark.parametrize("step", [step for step in TEMPLATE_STEPS if step[1] not in ("create", "seal")], ids=name_of)
async def test_a_daemon_that_died_making_a_template_leaves_a_vm_that_is_found(
    config: Config, spec: VmSpec, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_driver(config)
    with failing(monkeypatch, step, Died), pytest.raises(Died):
        await first.make_template(spec, settle)
    await swept(config, (), known=[spec.id])
    await first.close()


CLONE_STEPS: list[Step] = [
    *[step for step in STEPS if step[1] not in ("open_boot_file", "attach", "build")],
    (QemuTemplate, "open", False),
    (VmDirectory, "mark", False),
    (VmDirectory, "mark", True),
    (QemuVm, "restore", False),
    (migration, "restore", True),
]


@pytest.mark.parametrize("step", CLONE_STEPS, ids=name_of)
async def test_a_clone_that_cannot_be_made_leaves_nothing(
    qemu: QemuDriver,
    config: Config,
    spec: VmSpec,
    template: Template,
    step: Step,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = traces(config)
    clone = specification(spec.disks[next(iter(spec.disks))].path.parent, spec.kernel, template=template)
    with failing(monkeypatch, step, full), pytest.raises(NoSpace):
        await qemu.launch(clone)
    assert traces(config) == before
    agent = await greet(await qemu.launch(clone))
    await agent.close()


@pytest.mark.parametrize("step", CLONE_STEPS[1:], ids=name_of)
async def test_a_daemon_that_died_cloning_leaves_no_clone_that_is_half_made(
    qemu: QemuDriver,
    config: Config,
    spec: VmSpec,
    template: Template,
    step: Step,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clone = specification(spec.disks[next(iter(spec.disks))].path.parent, spec.kernel, template=template)
    first = open_driver(config)
    with failing(monkeypatch, step, Died), pytest.raises(Died):
        await first.launch(clone)
    successor = open_driver(config)
    assert await successor.known() == [clone.id]
    assert await successor.adopt(clone.id) is None
    await successor.close()
    await swept(config, (), known=[])
    await first.close()


CLAIM_STEPS: list[tuple[Step, bool]] = [
    ((spawn, "open_disk", False), False),
    ((QemuVm, "running", False), False),
    ((VmDirectory, "rename", False), False),
    ((VmDirectory, "rename", True), True),
    ((CgroupTree, "limit", False), True),
    ((CgroupTree, "limit", True), True),
    ((Slots, "fill", False), True),
    ((Slots, "_replace", False), True),
    ((Slots, "fill", True), True),
    ((Slots, "tidy", False), True),
]
"""Each with whether the VM goes by its new name then."""


@pytest.mark.parametrize(
    ("step", "renamed"), CLAIM_STEPS, ids=lambda value: name_of(value) if isinstance(value, tuple) else ""
)
async def test_a_claim_that_was_cut_short_leaves_a_vm_by_one_name(
    qemu: QemuDriver,
    config: Config,
    spec: VmSpec,
    template: Template,
    step: Step,
    renamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = spec.disks[next(iter(spec.disks))].path.parent
    waiting = specification(directory, spec.kernel, template=template, disks={})
    owner, name, after = step
    first = open_driver(config)
    vm = await first.launch(waiting)
    await (await greet(vm)).close()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken(Died, getattr(owner, name) if after else None))
        with pytest.raises(Died):
            await first.claim(waiting.id, spec)
    await first.close()
    successor = open_driver(config)
    expected = spec.id if renamed else waiting.id
    assert await successor.known() == [expected]
    adopted = await successor.adopt(expected)
    assert adopted is not None
    assert (adopted.id, adopted.pid) == (expected, vm.pid)
    await successor.close()
    await swept(config, (), known=[expected])


@pytest.mark.parametrize("step", [(VmDirectory, "rename", False), (Slots, "fill", False)], ids=name_of)
async def test_a_claim_that_fails_says_so_and_both_names_can_be_discarded(
    qemu: QemuDriver,
    config: Config,
    spec: VmSpec,
    template: Template,
    step: Step,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = spec.disks[next(iter(spec.disks))].path.parent
    waiting = specification(directory, spec.kernel, template=template, disks={})
    await qemu.launch(waiting)
    with monkeypatch.context() as patch:
        patch.setattr(step[0], step[1], broken(lambda: OSError(errno.ENOSPC, "No space")))
        with pytest.raises(HypercellError):
            await qemu.claim(waiting.id, spec)
    for vm_id in (waiting.id, spec.id):
        await qemu.discard(vm_id)
    assert traces(config).processes == ()
