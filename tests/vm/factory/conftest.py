# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.workshop import Opener, Workshop, workshops


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Opener]:
    async with workshops(tmp_path) as opener:
        yield opener


@pytest.fixture
async def workshop(make: Opener) -> Workshop:
    """Without a pool."""
    return await make()


@pytest.fixture
async def pooled(make: Opener) -> Workshop:
    """Two VMs of the usual shape wait."""
    built = await make(pool_memory=1024)
    built.open()
    await built.filled(2)
    return built
