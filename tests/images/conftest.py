# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.images.registry.patience import Limits
from hypercell.images.store import ImageStore, open_store

QUICK = Limits(connect=5, stall=0.3, answer=5, backoff=0.001)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "hypercell.db")
    yield database
    await database.close()


@pytest.fixture
async def store(tmp_path: Path, database: Database) -> ImageStore:
    """An empty store that loses patience quickly."""
    return await open_store(Config(root=tmp_path, reserve_bytes=0), database, QUICK)
