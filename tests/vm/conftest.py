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
from tests.support.vm import guest_kernel, settings, traces
from tests.vm.rig import Rig, fake_rig, qemu_rig


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return settings(tmp_path)


@pytest.fixture(params=["fake", pytest.param("qemu", marks=[pytest.mark.vm, pytest.mark.root])])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """A driver of each kind, and the means to do evil to its VMs."""
    config = settings(tmp_path, driver=request.param)
    kernel = find_kernel(config) if request.param == "fake" else guest_kernel(config)
    rig = (fake_rig if request.param == "fake" else qemu_rig)(config, kernel)
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
