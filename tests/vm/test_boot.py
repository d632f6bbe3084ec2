# SPDX-License-Identifier: Apache-2.0
"""Each kernel boots, with one processor and with several, and its panic is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hypercell.base.errors import VmFailed
from hypercell.vm.driver import ExitReason
from tests.support.vm import boot_id, greet, guest_kernel, settings
from tests.vm.rig import Rig, qemu_rig

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(params=["own", "distribution"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    config = settings(tmp_path, kernel=request.param)
    rig = qemu_rig(config, guest_kernel(config))
    yield rig
    await rig.clean_up()


@pytest.mark.parametrize("vcpus", [1, 3])
async def test_the_guest_runs_the_kernel_that_was_chosen(rig: Rig, vcpus: int) -> None:
    vm = await rig.driver.launch(rig.specification(vcpus=vcpus))
    agent = await greet(vm)
    assert agent.welcome.kernel == rig.kernel.release
    await agent.close()


async def test_a_panic_is_told_with_the_kernels_words(rig: Rig) -> None:
    end = await (await rig.panicking()).wait()
    assert end.reason is ExitReason.GUEST_PANIC
    assert end.detail.startswith("Kernel panic - not syncing: sysrq triggered crash")


async def test_a_guest_without_a_kernel_to_run_ends_or_stands_still_but_is_removed(rig: Rig, tmp_path: Path) -> None:
    broken = tmp_path / "vmlinux"
    broken.write_bytes(rig.kernel.vmlinux.read_bytes()[:100_000])
    spec = rig.specification(kernel=replace(rig.kernel, vmlinux=broken, uniprocessor=None))
    try:
        vm = await rig.driver.launch(spec)
        await asyncio.wait([asyncio.ensure_future(vm.wait())], timeout=0.2)
    except VmFailed as error:
        assert error.reason in ("hypervisor-failed", "hypervisor-killed", "guest-reset")
    await rig.driver.discard(spec.id)
    assert await rig.driver.known() == []


async def test_as_many_guests_as_one_likes_boot_at_once(rig: Rig) -> None:
    async def boot() -> str:
        agent = await greet(await rig.driver.launch(rig.specification()))
        name = await boot_id(agent)
        await agent.close()
        return name

    assert len(set(await asyncio.gather(*(boot() for _ in range(4))))) == 4
