# SPDX-License-Identifier: Apache-2.0
"""Hypervisors that are forked of one that has booted and was rewound (docs/adr/0013-zygotes.md)."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base.errors import Internal
from hypercell.vm.driver import Disk, Slot, Vm
from hypercell.vm.forking import LivingTemplate
from hypercell.vm.program import SLIM
from hypercell.vm.qemu_vm import QemuVm
from tests.support.compiled import in_base64
from tests.support.house import eventually
from tests.support.real_house import RealHouse, real_house
from tests.support.vm import boot_id, greet, image, settings_for
from tests.vm.inspecting import ask, guest_memory, inserted, pages_shared
from tests.vm.rig import Rig, cloned, traceless_rig

pytestmark = [pytest.mark.vm, pytest.mark.root]
SELF_MODIFYING = Path(__file__).with_name("self_modifying.c")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with traceless_rig(settings_for("forked", tmp_path)) as rig:
        yield rig


async def told(vm: Vm, name: str) -> None:
    """The guest is called *name*."""
    agent = await greet(vm)
    members = {"hostname": name, "clock_ns": time.time_ns(), "machine_id": "0" * 32, "interfaces": [], "sysctl": {}}
    await agent.request("configure", {**members, "entropy": base64.b64encode(os.urandom(64)).decode()})
    await agent.close()


async def test_nothing_of_the_guest_is_left_in_a_zygote(rig: Rig) -> None:
    secret, size = secrets.token_hex(16), rig.specification().memory_mib << 20
    before = b""

    async def settle(vm: Vm) -> None:
        nonlocal before
        await told(vm, secret)
        before = guest_memory(vm.pid, size)

    zygote = await rig.driver.make_zygote(rig.specification(disks={}), settle)
    assert secret.encode() in before, "this would be seen"
    assert isinstance(zygote, LivingTemplate) and zygote._vm is not None
    after = guest_memory(zygote._vm.pid, size)
    assert b"Linux version" in after, "there is the kernel that it will boot"
    assert secret.encode() not in after
    assert len(after) < len(before) / 2
    zygote.close()


async def test_what_one_that_boots_of_a_zygote_writes_no_other_sees(rig: Rig) -> None:
    zygote = await rig.zygote()
    assert isinstance(zygote, LivingTemplate) and zygote._vm is not None
    one, other, secret = await cloned(rig, zygote), await cloned(rig, zygote), secrets.token_hex(16)
    size = rig.specification().memory_mib << 20
    await told(one, secret)
    await told(other, "other")
    assert secret.encode() in guest_memory(one.pid, size)
    assert secret.encode() not in guest_memory(other.pid, size) + guest_memory(zygote._vm.pid, size)
    zygote.close()


async def test_what_boots_of_a_zygote_shares_no_page(rig: Rig) -> None:
    template, zygote = await rig.template(), await rig.zygote()
    clone, alone = await cloned(rig, template), await cloned(rig, zygote)
    for vm in (clone, alone):
        await (await greet(vm)).close()
    assert pages_shared(clone.pid) > 1000, "this would be seen"
    assert pages_shared(alone.pid) == 0
    template.close()
    zygote.close()


async def test_each_has_its_own_disks_and_no_other(rig: Rig, tmp_path: Path) -> None:
    zygote = await rig.zygote()
    for name in ("one", "other"):
        disk = Disk(image(tmp_path / name), read_only=True)
        vm = await cloned(rig, zygote, disks={Slot.ROOT: disk})
        await (await greet(vm)).close()
        assert await inserted(vm) == {Slot.ROOT: str(disk.path)}
    zygote.close()


async def test_a_machine_that_runs_is_not_rewound(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    assert isinstance(vm, QemuVm)
    with pytest.raises(Internal, match="stands still"):
        await ask(vm, "x-rewind")
    await (await greet(vm)).close()


async def test_a_machine_is_rewound_as_often_as_one_likes(rig: Rig) -> None:
    vm = await rig.driver.launch(rig.specification())
    assert isinstance(vm, QemuVm)
    names = set()
    for _ in range(3):
        agent = await greet(vm)
        names.add(await boot_id(agent, b"the same entropy for all of them"))
        await agent.close()
        await vm.pause()
        await vm.rewind()
        await vm.resume()
    assert len(names) == 3


async def test_several_processors_boot_of_a_zygote_too(rig: Rig) -> None:
    zygote = await rig.zygote(vcpus=3)
    vm = await rig.driver.launch(rig.specification(template=zygote, vcpus=3))
    await (await greet(vm)).close()
    zygote.close()


async def test_an_operator_can_have_no_hypervisor_forked(tmp_path: Path) -> None:
    async with traceless_rig(settings_for("forked", tmp_path, forks=False)) as rig:
        assert not rig.driver.capabilities.zygotes
        assert not rig.driver.capabilities.warm_clones
        template = await rig.template()
        assert not isinstance(template, LivingTemplate)
        await (await greet(await cloned(rig, template))).close()
        template.close()


@pytest.fixture(scope="module")
def self_modifying(tmp_path_factory: pytest.TempPathFactory) -> str:
    return in_base64(SELF_MODIFYING, tmp_path_factory.mktemp("program"))


async def zygote_there(home: RealHouse) -> None:
    async def answer() -> bool:
        return home.node.services.factory.figures().templates == 1

    await eventually(answer)


async def booted_of(home: RealHouse, ident: str) -> str:
    """The key of the zygote of which its VM was forked."""
    launched = home.node.get(ident).pod.launched  # type: ignore[attr-defined]
    return str(launched.key)


@pytest.mark.parametrize("size", ["s1", "m2"])
async def test_a_program_that_rewrites_itself_runs_what_it_wrote(
    tmp_path: Path, self_modifying: str, size: str
) -> None:
    settings_for("forked", tmp_path)
    script = 'echo "$0" | base64 -d >/tmp/program && chmod +x /tmp/program && exec /tmp/program'
    async with real_house(tmp_path, qemu=str(SLIM), accelerator="tcg", isolation="cold") as home:
        for forked in (False, True):
            ident = await home.run("sh", "-c", script, self_modifying, size=size)
            assert (await booted_of(home, ident)).startswith("zygote ") == forked
            assert (await home.wait(ident), await home.output(ident)) == (0, b"as written\n")
            await zygote_there(home)


async def test_a_start_boots_without_its_zygote_when_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_for("forked", tmp_path)
    monkeypatch.setattr("hypercell.vm.factory.templates._PAUSES", (0.0, 0.0))
    async with real_house(tmp_path, qemu=str(SLIM), accelerator="tcg", isolation="cold") as home:
        await home.wait(await home.run("true"))
        await zygote_there(home)
        ident = await home.run("sleep", "1000")
        assert (await booted_of(home, ident)).startswith("zygote ")
        (origin,) = home.driver._templates
        os.kill(home.driver._vms[origin].pid, signal.SIGKILL)
        other = await home.run("sleep", "1000")
        assert await booted_of(home, other) == ""
        assert home.node.get(ident).pod.vm is not None  # type: ignore[attr-defined]
