# SPDX-License-Identifier: Apache-2.0
"""Drivers to hold to the contract: each with settings of its own, and nothing left when a test is over."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base.config import Config
from hypercell.vm import find_kernel, open_driver
from hypercell.vm.qemu import QemuDriver
from tests.support.vm import KINDS, guest_kernel, settings, settings_for, traces
from tests.vm.rig import Rig, fake_rig, qemu_rig


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return settings(tmp_path)


@pytest.fixture(params=["fake", *(pytest.param(kind, marks=[pytest.mark.vm, pytest.mark.root]) for kind in KINDS)])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """A driver of each kind, the real one with templates of each kind, and the means to do evil to its VMs."""
    if request.param == "fake":
        config = settings(tmp_path, driver="fake")
        rig = fake_rig(config, find_kernel(config))
    else:
        config = settings_for(request.param, tmp_path)
        rig = qemu_rig(config, guest_kernel(config))
    yield rig
    await rig.clean_up()


@pytest.fixture
async def qemu(config: Config) -> AsyncIterator[QemuDriver]:
    guest_kernel(config)
    gc.collect()
    before = traces(config)
    driver = open_driver(config)
    assert isinstance(driver, QemuDriver)
    yield driver
    for vm_id in await driver.known():
        await driver.discard(vm_id)
    await driver.close()
    after = traces(config)
    assert (after.directories, after.groups, after.processes) == ((), (), ())
    assert after.descriptors <= before.descriptors
