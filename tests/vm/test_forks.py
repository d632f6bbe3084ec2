# SPDX-License-Identifier: Apache-2.0
"""Templates that are processes, and the clones that are forked of them (docs/adr/0012-forked-clones.md)."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hypercell.base.errors import Internal, Unavailable, VmFailed
from hypercell.vm import cgroups
from hypercell.vm.driver import Slot
from hypercell.vm.forking import LivingTemplate
from hypercell.vm.program import DISTRIBUTION, SLIM
from hypercell.vm.qemu_vm import QemuVm
from hypercell.vm.qmp import Qmp
from hypercell.vm.slots import Slots
from tests.support.house import eventually
from tests.support.real_house import RealHouse, real_house
from tests.support.vm import boot_id, greet, open_files, settings_for, traces
from tests.vm.inspecting import (
    PROC,
    ask,
    children,
    guest_memory,
    memory,
    shared_files,
    status,
    threads,
    writable_shared_mappings,
)
from tests.vm.rig import Rig, cloned, traceless_rig

pytestmark = [pytest.mark.vm, pytest.mark.root]
_OWN = 6
"""Descriptors of a fork without a card (hypervisor/fork.c)."""
_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapAmb")
_MAY_CHANGE_USER = 1 << 6 | 1 << 7
"""CAP_SETGID, CAP_SETUID"""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    config = settings_for("forked", tmp_path)
    async with traceless_rig(config) as rig:
        yield rig


@pytest.fixture
async def template(rig: Rig) -> AsyncIterator[LivingTemplate]:
    made = await rig.template()
    assert isinstance(made, LivingTemplate)
    yield made
    made.close()


async def forked(rig: Rig, template: LivingTemplate) -> QemuVm:
    vm = await cloned(rig, template)
    await (await greet(vm)).close()
    return vm


def own(template: LivingTemplate) -> QemuVm:
    """The VM of which others are forked."""
    assert template._vm is not None
    return template._vm


async def test_a_fork_is_a_user_of_its_own_without_any_right(rig: Rig, template: LivingTemplate) -> None:
    vms = [await forked(rig, template) for _ in range(2)]
    users = {status(own(template).pid)["Uid"]}
    for vm in vms:
        for task in threads(vm.pid):
            seen = status(vm.pid, task)
            assert set(seen["Uid"].split()) == set(seen["Gid"].split()) == {str(vm.record.uid)}
            assert seen["Groups"] == ""
            assert {int(seen[name], 16) for name in _CAPABILITIES} == {0}
        users.add(status(vm.pid)["Uid"])
    assert len(users) == 3


async def test_every_thread_of_a_fork_is_confined(rig: Rig, template: LivingTemplate) -> None:
    vm, origin = await forked(rig, template), own(template)
    await ask(vm, "query-block")
    filters = {int(status(origin.pid, task)["Seccomp_filters"]) for task in threads(origin.pid)}
    assert len(threads(vm.pid)) > 1
    for task in threads(vm.pid):
        seen = status(vm.pid, task)
        assert (seen["Seccomp"], seen["NoNewPrivs"]) == ("2", "1")
        assert int(seen["Seccomp_filters"]) == max(filters) + 1, "the template's, and what is its own"


async def test_a_template_may_change_its_user_and_do_nothing_else_of_roots(template: LivingTemplate) -> None:
    for task in threads(own(template).pid):
        seen = status(own(template).pid, task)
        assert "0" not in seen["Uid"].split()
        assert {int(seen[name], 16) for name in _CAPABILITIES} <= {_MAY_CHANGE_USER}
        assert (seen["Seccomp"], seen["NoNewPrivs"]) == ("2", "1")


async def test_a_fork_is_in_a_session_of_its_own_and_the_daemons_child(rig: Rig, template: LivingTemplate) -> None:
    vm = await forked(rig, template)
    assert os.getsid(vm.pid) == os.getpgid(vm.pid) == vm.pid
    assert status(vm.pid)["PPid"] == str(os.getpid())


async def test_a_fork_is_in_the_groups_of_its_vm_and_not_of_its_template(rig: Rig, template: LivingTemplate) -> None:
    vm = await forked(rig, template)
    for group, other in zip(vm.record.cgroups, own(template).record.cgroups, strict=True):
        assert str(vm.pid) in (Path(group) / "cgroup.procs").read_text().split()
        assert str(vm.pid) not in (Path(other) / "cgroup.procs").read_text().split()


async def test_a_fork_is_called_as_its_vm(rig: Rig, template: LivingTemplate) -> None:
    vm = await forked(rig, template)
    words = (PROC / str(vm.pid) / "cmdline").read_bytes().split(b"\0")
    assert words[words.index(b"-name") + 1].decode().rstrip() == vm.id


async def test_no_open_file_is_common_to_a_fork_and_its_template_or_its_sibling(
    rig: Rig, template: LivingTemplate
) -> None:
    one, other, origin = await forked(rig, template), await forked(rig, template), own(template)
    assert len(shared_files(one.pid, one.pid)) >= len(open_files(one.pid)) > 10, "this would be seen"
    for first, second in ((one, origin), (other, origin), (one, other)):
        assert shared_files(first.pid, second.pid) == []


async def test_a_fork_has_what_it_needs_and_nothing_else(rig: Rig, template: LivingTemplate) -> None:
    vm = await forked(rig, template)
    sockets = ["socket:"] * 5  # three that listen, and our connections to console and control socket

    async def hung_up() -> bool:
        return sum(link.startswith("socket:") for link in open_files(vm.pid)) == len(sockets)

    await eventually(hung_up)
    links = [re.sub(r"\[\d+\]", "", link) for link in open_files(vm.pid)]
    disk = str(rig.config.root / f"{vm.id}.rw")
    pipe = str(rig.config.vms / vm.id / "log.pipe")
    files = [link for link in links if not link.startswith("anon_inode:")]
    assert sorted(files) == sorted(["/dev/null", pipe, pipe, disk, disk, *sockets])
    assert {link for link in links if link.startswith("anon_inode:")} <= {
        f"anon_inode:[{kind}]" for kind in ("eventfd", "eventpoll", "signalfd")
    }


async def test_a_template_keeps_none_of_the_disks_it_was_made_with(rig: Rig) -> None:
    spec = rig.specification()
    made = await rig.driver.make_template(spec, _settle)
    assert isinstance(made, LivingTemplate)
    vm = await forked(rig, made)
    for pid in (own(made).pid, vm.pid):
        assert str(spec.disks[Slot.WRITABLE].path) not in open_files(pid)
    made.close()


async def test_a_fork_of_a_template_that_has_a_disk_still_ends(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """All forks would write to it."""

    async def forget(self: Slots, qmp: Qmp) -> None:
        pass

    monkeypatch.setattr(Slots, "tidy", forget)
    made = await rig.driver.make_template(rig.specification(), _settle)
    spec = rig.specification(template=made)
    with pytest.raises(VmFailed, match="cannot renew what it shares"):
        vm = await rig.driver.launch(spec)
        assert isinstance(vm, QemuVm)
        await vm.running()
    await rig.driver.discard(spec.id)
    made.close()


async def _settle(vm: object) -> None:
    assert isinstance(vm, QemuVm)
    await (await greet(vm)).close()


async def test_memory_is_shared_and_what_one_writes_no_other_sees(rig: Rig, template: LivingTemplate) -> None:
    vms = [await forked(rig, template) for _ in range(4)]
    for vm in vms:
        seen = memory(vm.pid)
        assert 0 < seen["Private_Dirty"] < seen["Rss"] / 3
        assert writable_shared_mappings(vm.pid) == []
    assert writable_shared_mappings(own(template).pid) == []


async def test_a_template_holds_no_page_of_zeros(rig: Rig, template: LivingTemplate) -> None:
    size = rig.specification().memory_mib << 20

    def of_zeros(pid: int) -> int:
        found = guest_memory(pid, size)
        return sum(not any(found[at : at + 4096]) for at in range(0, len(found), 4096))

    assert of_zeros(own(template).pid) > 0, "this would be seen"
    await forked(rig, template)
    assert of_zeros(own(template).pid) == 0


async def test_each_processor_of_a_fork_has_a_thread_of_its_own(rig: Rig) -> None:
    template = await rig.template(vcpus=3)
    assert isinstance(template, LivingTemplate)
    vm = await rig.driver.launch(rig.specification(template=template, vcpus=3))
    assert isinstance(vm, QemuVm)
    agent = await greet(vm)
    tasks = {cpu["thread-id"] for cpu in await ask(vm, "query-cpus-fast")}
    assert len(tasks) == 3
    assert tasks <= set(threads(vm.pid))
    assert await boot_id(agent)
    await agent.close()
    template.close()


async def test_a_fork_that_is_killed_tells_even_when_its_template_is_gone(rig: Rig, template: LivingTemplate) -> None:
    vm = await forked(rig, template)
    template.close()
    rig.murder(vm)
    end = await vm.wait()
    assert (end.reason.value, "SIGKILL" in end.detail) == ("hypervisor-killed", True)


# What is refused


async def fork(vm: QemuVm, count: int) -> object:
    """The answer to a command with so many descriptors."""
    assert vm._qmp is not None
    ends = [end for _ in range(count) for end in socket.socketpair()]
    try:
        numbers = [end.fileno() for end in ends[::2]]
        answer = vm._qmp.begin("x-fork", {"name": "nobody", "user": 4_000_000}, *numbers)
        return (await vm._qmp.answers([answer]))[0]
    finally:
        for end in ends:
            end.close()


@pytest.mark.parametrize("count", [0, 1, _OWN - 1, 16])
async def test_a_wrong_number_of_descriptors_is_refused_and_none_is_kept(
    rig: Rig, template: LivingTemplate, count: int
) -> None:
    await forked(rig, template)
    before, family = len(open_files(own(template).pid)), children()
    for _ in range(3):
        with pytest.raises(Internal, match="descriptors"):
            await fork(own(template), count)
    assert len(open_files(own(template).pid)) == before
    assert children() == family
    await forked(rig, template)


async def test_a_running_machine_is_not_forked(rig: Rig, template: LivingTemplate) -> None:
    await forked(rig, template)
    before, family = len(open_files(own(template).pid)), children()
    await own(template).resume()
    with pytest.raises(Internal, match="stand still"):
        await fork(own(template), _OWN)
    await own(template).pause()
    assert len(open_files(own(template).pid)) == before
    assert children() == family


async def test_a_template_that_does_not_answer_is_ended(
    rig: Rig, template: LivingTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It might fork later, when nobody waits for what comes of it."""
    monkeypatch.setattr("hypercell.vm.qemu_vm._GREETING", 0.3)
    origin, family = own(template), children()
    os.kill(origin.pid, signal.SIGSTOP)
    with pytest.raises(VmFailed, match="did not answer x-fork"):
        await rig.driver.launch(rig.specification(template=template))
    assert children() == family - {origin.pid}
    assert await rig.driver.known() == []


async def test_what_the_daemon_is_short_of_is_not_the_templates_fault(
    rig: Rig, template: LivingTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_descriptors(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as short:
        short.setattr(Qmp, "_write_with", out_of_descriptors)
        with pytest.raises(Unavailable, match="Too many open files"):
            await forked(rig, template)
    await forked(rig, template)


@pytest.mark.parametrize("rounds", [0, 1, 2, 4, 8])
async def test_a_launch_that_is_cancelled_while_it_forks_leaves_nothing(
    rig: Rig, template: LivingTemplate, rounds: int
) -> None:
    before, family = traces(rig.config), children()
    task = asyncio.create_task(rig.driver.launch(rig.specification(template=template)))
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        await rig.driver.discard(task.result().id)
    assert traces(rig.config) == before
    assert children() == family


async def test_a_fork_that_cannot_enter_its_control_groups_ends(
    rig: Rig, template: LivingTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be in its template's, and end with it."""

    def refusing(groups: list[Path]) -> list[int]:
        return [os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC) for _ in groups]

    monkeypatch.setattr("hypercell.vm.cgroups.entrances", refusing)
    family, spec = children(), rig.specification(template=template)
    with pytest.raises(VmFailed, match="cannot enter its control groups"):
        vm = await rig.driver.launch(spec)
        assert isinstance(vm, QemuVm)
        await vm.running()
    await rig.driver.discard(spec.id)
    assert children() == family


async def test_a_fork_with_fewer_control_groups_than_its_template_is_not_made(
    rig: Rig, template: LivingTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrances = cgroups.entrances
    monkeypatch.setattr("hypercell.vm.cgroups.entrances", lambda groups: entrances(groups[1:]))
    before, family = traces(rig.config), children()
    with pytest.raises(VmFailed, match="refuses control groups"):
        await rig.driver.launch(rig.specification(template=template))
    assert traces(rig.config) == before
    assert children() == family


# The ends of templates


async def test_a_template_that_was_killed_refuses_and_its_clones_go_on(rig: Rig, template: LivingTemplate) -> None:
    vm = await forked(rig, template)
    os.kill(own(template).pid, signal.SIGKILL)
    await own(template).wait()
    with pytest.raises(VmFailed) as caught:
        await rig.driver.launch(rig.specification(template=template))
    assert caught.value.reason == "hypervisor-failed"
    assert await rig.driver.known() == [vm.id]
    await (await greet(vm)).close()


async def test_the_next_daemon_removes_the_template_of_one_that_was_killed(rig: Rig, template: LivingTemplate) -> None:
    vm, origin = await forked(rig, template), own(template)
    await rig.restart()  # nobody has closed the template
    assert await rig.driver.known() == sorted([vm.id, origin.id])
    assert await rig.driver.adopt(origin.id) is None
    assert await rig.driver.known() == [vm.id]
    assert not (PROC / str(origin.pid)).exists()
    adopted = await rig.driver.adopt(vm.id)
    assert adopted is not None
    await (await greet(adopted)).close()


async def test_a_driver_that_is_closed_has_ended_its_templates(rig: Rig, template: LivingTemplate) -> None:
    template.close()
    await rig.driver.close()
    after = traces(rig.config)
    assert (after.directories, after.processes) == ((), ())


# In a whole daemon


async def ready(home: RealHouse) -> None:
    async def answer() -> bool:
        return home.node.services.factory.figures().templates == 1

    await eventually(answer)


async def way_of(home: RealHouse) -> tuple[str, str]:
    """How a new container's VM came about, and why not quicker."""
    ident = await home.run("true")
    await home.wait(ident)
    trace = home.node.get(ident).trace
    assert trace is not None
    return trace.way, trace.note


async def test_a_start_goes_another_way_when_the_template_was_killed_and_a_new_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_for("forked", tmp_path)
    monkeypatch.setattr("hypercell.vm.factory.templates._PAUSES", (0.0, 0.0))
    async with real_house(tmp_path, qemu=str(SLIM), accelerator="tcg") as home:
        await way_of(home)
        await ready(home)
        assert (await way_of(home))[0] == "template"
        (origin,) = home.driver._templates
        os.kill(home.driver._vms[origin].pid, signal.SIGKILL)
        way, note = await way_of(home)
        assert (way, "template is damaged" in note) == ("cold", True)
        await way_of(home)
        await ready(home)
        assert (await way_of(home))[0] == "template"
        assert origin not in home.driver._templates


@pytest.fixture
def liar() -> Iterator[Path]:
    """The distribution's QEMU, which says that it is ours, in a place that other users reach."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        made = Path(directory) / "liar"
        says = 'if [ "$1" = --version ]; then echo "hypercell slim with forks and zygotes"; exit; fi'
        made.write_text(f'#!/bin/sh\n{says}\nexec {DISTRIBUTION} "$@"\n')
        made.chmod(0o755)
        yield made


async def test_a_program_that_only_says_that_it_forks_is_found_out_and_vms_boot(tmp_path: Path, liar: Path) -> None:
    async with real_house(tmp_path, qemu=str(liar), accelerator="tcg") as home:
        assert home.driver.capabilities.warm_clones
        assert (await way_of(home))[0] == "cold"

        async def tried() -> bool:
            return not home.node.services.factory._templates._builds

        await eventually(tried)
        way, note = await way_of(home)
        assert (way, "x-f" in note and "has not been found" in note) == ("cold", True)
        assert home.driver._templates == set()
