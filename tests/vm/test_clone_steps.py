# SPDX-License-Identifier: Apache-2.0
"""Making a template, cloning it, claiming a VM and closing a template: a failure or the daemon's death at any step
leaves nothing."""

from __future__ import annotations

import asyncio
import errno
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from hypercell.base.config import Config
from hypercell.base.errors import HypercellError, NoSpace, VmFailed
from hypercell.vm import cgroups, forking, memfd, migration, open_driver, processes, spawn
from hypercell.vm import qemu as driver_module
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.driver import Driver, Template, Vm, VmSpec
from hypercell.vm.forking import ControlPair, LivingTemplate
from hypercell.vm.qemu import QemuDriver
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.records import VmDirectory
from hypercell.vm.saved_template import SavedTemplate
from hypercell.vm.slots import Slots
from hypercell.vm.uids import in_use
from tests.support.house import eventually
from tests.support.vm import KINDS, greet, guest_kernel, settings_for, specification, traces
from tests.vm.inspecting import children
from tests.vm.test_qemu_launch import STEPS, Died, Step, broken, failing, full, name_of

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """Each test runs with templates of each kind; `for_kind` skips where a step is not one of it."""
    return settings_for(request.param, tmp_path)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["config"])


@pytest.fixture
def spec(config: Config, tmp_path: Path) -> VmSpec:
    return specification(tmp_path, guest_kernel(config))


@pytest.fixture
async def template(qemu: QemuDriver, config: Config, tmp_path: Path) -> AsyncIterator[Template]:
    made = await qemu.make_template(specification(tmp_path, guest_kernel(config), disks={}), settle)
    yield made
    made.close()
    await qemu.close()


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


KindOfStep = tuple[str, Step]
"""One for templates of that kind, or of "both", or for a "zygote"."""


def name_of_kind(value: KindOfStep) -> str:
    return f"{value[0]}-{name_of(value[1])}"


def for_kind(kind: str, value: KindOfStep) -> Step:
    if value[0] not in (kind, "both") and (kind, value[0]) != ("forked", "zygote"):
        pytest.skip(f"no step of a template that is {kind}")
    return value[1]


def making(qemu: Driver, value: KindOfStep) -> Callable[[VmSpec, Callable[[Vm], Awaitable[None]]], Awaitable[Template]]:
    return qemu.make_zygote if value[0] == "zygote" else qemu.make_template


def of(kind: str, *steps: Step) -> list[KindOfStep]:
    return [(kind, step) for step in steps]


TEMPLATE_STEPS: list[KindOfStep] = [
    *of("saved", (memfd, "create", False)),
    *of("forked", (driver_module, "adopt_orphans", False)),
    *of("both", *STEPS[:6]),
    *of(
        "both",
        (VmDirectory, "listen", True),
        (spawn, "open_boot_file", False),
        (VmDirectory, "make_pipe", False),
        (spawn, "spawn", False),
        (spawn, "spawn", True),
        (cgroups, "entrances", False),
        (processes.Process, "child", False),
        (QemuVm, "attach", False),
        (QemuVm, "attach", True),
    ),
    *of("saved", (QemuVm, "save", False), (migration, "_status", False), (QemuVm, "save", True)),
    *of("saved", (memfd, "seal", False), (memfd, "seal", True)),
    *of("forked", (VmDirectory, "mark", False), (VmDirectory, "mark", True)),
    *of("forked", (QemuVm, "forget_translations", False), (QemuVm, "forget_translations", True)),
    *of("forked", (QemuVm, "fill", False), (Slots, "fill", True), (QemuVm, "fill", True)),
    *of("forked", (QemuVm, "pause", False), (QemuVm, "pause", True), (QemuVm, "host_usage", False)),
    *of("forked", (QemuVm, "host_usage", True)),
    *of("zygote", (QemuVm, "pause", False), (QemuVm, "rewind", False), (QemuVm, "rewind", True)),
]
WITHOUT_A_VM = ("create", "seal", "adopt_orphans")


@pytest.mark.parametrize("at", TEMPLATE_STEPS, ids=name_of_kind)
async def test_a_template_that_cannot_be_made_leaves_nothing(
    qemu: QemuDriver, config: Config, spec: VmSpec, kind: str, at: KindOfStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, before, processes_before = for_kind(kind, at), traces(config), children()
    make = making(qemu, at)
    with failing(monkeypatch, step, full), pytest.raises((NoSpace, OSError)):
        await make(spec, settle)
    assert traces(config) == before
    assert children() == processes_before
    assert spec.id not in qemu._templates
    made = await make(spec, settle)
    made.close()
    await qemu.close()


@pytest.mark.parametrize("at", [at for at in TEMPLATE_STEPS if at[1][1] not in WITHOUT_A_VM], ids=name_of_kind)
async def test_a_daemon_that_died_making_a_template_leaves_a_vm_that_is_found(
    config: Config, spec: VmSpec, kind: str, at: KindOfStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = for_kind(kind, at)
    first = open_driver(config)
    with failing(monkeypatch, step, Died), pytest.raises(Died):
        await making(first, at)(spec, settle)
    await swept(config, (), known=[spec.id])
    await first.close()


CLONE_STEPS: list[KindOfStep] = [
    *of("both", *[step for step in STEPS if step[1] not in ("open_boot_file", "attach", "build", "spawn")]),
    *of("both", (VmDirectory, "mark", False), (VmDirectory, "mark", True)),
    *of("saved", (SavedTemplate, "open", False), (spawn, "spawn", False), (spawn, "spawn", True)),
    *of("saved", (QemuVm, "restore", False), (migration, "restore", True)),
    *of("forked", (forking, "_pair", False), (forking, "_pair", True), (ControlPair, "given", False)),
    *of("forked", (LivingTemplate, "fork", False), (QemuVm, "fork", False), (QemuVm, "fork", True)),
    *of("forked", (LivingTemplate, "fork", True), (ControlPair, "streams", False)),
    *of("forked", (Slots, "fill", False), (Slots, "fill", True)),
    *of("forked", (QemuVm, "carry_on", True)),
]


@pytest.mark.parametrize("at", CLONE_STEPS, ids=name_of_kind)
async def test_a_clone_that_cannot_be_made_leaves_nothing(
    qemu: QemuDriver,
    config: Config,
    spec: VmSpec,
    template: Template,
    kind: str,
    at: KindOfStep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, before, processes_before = for_kind(kind, at), traces(config), children()
    clone = specification(spec.disks[next(iter(spec.disks))].path.parent, spec.kernel, template=template)
    with failing(monkeypatch, step, full), pytest.raises(NoSpace):
        await qemu.launch(clone)
    gc.collect()
    assert traces(config) == before
    assert children() == processes_before
    agent = await greet(await qemu.launch(clone))
    await agent.close()


@pytest.mark.parametrize("at", CLONE_STEPS[1:], ids=name_of_kind)
async def test_a_daemon_that_died_cloning_leaves_no_clone_that_is_half_made(
    qemu: QemuDriver,
    config: Config,
    spec: VmSpec,
    template: Template,
    kind: str,
    at: KindOfStep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, before = for_kind(kind, at), traces(config)
    clone = specification(spec.disks[next(iter(spec.disks))].path.parent, spec.kernel, template=template)
    first = open_driver(config)
    with failing(monkeypatch, step, Died), pytest.raises(Died):
        await first.launch(clone)
    successor = open_driver(config)
    assert clone.id in await successor.known()
    if step[1:] != ("carry_on", True):  # that one knows all it has to
        assert await successor.adopt(clone.id) is None
    else:
        await successor.discard(clone.id)
    await successor.close()
    after = traces(config)
    assert (after.directories, after.processes) == (before.directories, before.processes)
    await first.close()
    template.close()
    await qemu.close()
    await swept(config, (), known=[])


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
    template.close()
    await qemu.close()
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
    template.close()
    await qemu.close()
    assert traces(config).processes == ()


CLOSE_STEPS: list[Step] = [
    (QemuVm, "kill", False),
    (QemuVm, "kill", True),
    (QemuVm, "detach", False),
    (QemuVm, "detach", True),
    (VmDirectory, "read_record", False),
    (cgroups, "remove", False),
    (cgroups, "remove", True),
]


@pytest.mark.parametrize("step", CLOSE_STEPS, ids=name_of)
async def test_a_daemon_that_died_closing_a_template_leaves_one_that_is_found(
    config: Config, spec: VmSpec, kind: str, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "saved":
        pytest.skip("a saved template is memory of the daemon's, which ends with it")
    first = open_driver(config)
    template = await first.make_template(spec, settle)
    owner, name, after = step
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken(ValueError, getattr(owner, name) if after else None))
        template.close()
        await asyncio.gather(*first._ending, return_exceptions=True)  # type: ignore[attr-defined]
    await swept(config, (), known=[spec.id])
    await first.close()


async def test_a_template_that_is_closed_leaves_nothing_and_its_clones_go_on(
    qemu: QemuDriver, config: Config, spec: VmSpec
) -> None:
    template = await qemu.make_template(spec, settle)
    own = template._vm.record.uid if isinstance(template, LivingTemplate) and template._vm else 0
    vm = await qemu.launch(specification(config.root.parent, spec.kernel, template=template))
    agent = await greet(vm)
    template.close()
    assert template.bytes == 0

    async def gone() -> bool:
        after = traces(config)
        return (after.directories, after.processes) == ((vm.id,), (vm.pid,)) and not (own and in_use(own))

    await eventually(gone)
    assert not any(path.exists() for path in CgroupTree.of_host(config.run).directories(spec.id))
    assert await agent.request("ping") == {}
    with pytest.raises(VmFailed):
        await qemu.launch(specification(config.root.parent, spec.kernel, template=template))
    await agent.close()
