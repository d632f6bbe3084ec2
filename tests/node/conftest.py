# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.house import House, Resident, house
from tests.support.real_house import real_house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as built:
        yield built


@pytest.fixture(params=["fake", pytest.param("qemu", marks=[pytest.mark.vm, pytest.mark.root])])
async def any_home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Resident]:
    """What is promised of every VM is tested with fake guests and with real ones."""
    async with house(tmp_path) if request.param == "fake" else real_house(tmp_path) as built:
        yield built
