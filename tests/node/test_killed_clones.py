# SPDX-License-Identifier: Apache-2.0
"""`kill -9` of the daemon at every step of template, clone and claim: its successor loses and leaves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.cloud.contract import Status
from tests.node.test_killed_daemon import killed_at, survivor
from tests.support.house import House, T

TEMPLATE = ["template-begin", "template-saved", "template-verified"]
CLONE = ["clone-tap-open", "clone-launched", "clone-greeted", "container-created", "container-started"]
POOL = ["pool-begin", "pool-warm"]
CLAIM = ["claim-begin", "claimed", "container-created", "container-started"]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    built = House(tmp_path)
    await built.machine.start()
    yield built
    await built.close()
    await built.machine.close()


async def well(home: House) -> None:
    """Containers that are there can be used, and there is nothing else."""
    await home.open()
    views = await home.containers.list(T, all=True)
    known = {view.id for view in views}
    assert set(home.machine.vms) <= known
    assert set(home.network.ports) == known
    assert {path.name for path in home.config.containers.iterdir()} == known
    for view in views:
        if view.state.status is not Status.RUNNING:
            assert view.id not in home.machine.vms
            await home.containers.start(T, view.id)
        assert await home.status(view.id) is Status.RUNNING
    for ident in known:
        await home.containers.remove(T, ident, force=True)
    await home.settled()
    assert home.machine.vms == {}


@pytest.mark.parametrize("point", [*TEMPLATE, *CLONE])
async def test_what_a_clone_half_made_leaves_is_swept(home: House, point: str) -> None:
    # The first container to be made and started boots cold.
    await killed_at(home, point, "template", count=2 if point.startswith("container-") else 1)
    await well(home)


@pytest.mark.parametrize("point", [*TEMPLATE, *POOL, *CLAIM])
async def test_what_a_claim_half_done_leaves_is_swept(home: House, point: str) -> None:
    await killed_at(home, point, "pool")
    await well(home)


async def test_a_claimed_vm_is_its_containers_for_good(home: House) -> None:
    await killed_at(home, "container-started", "pool")
    await home.open()
    view = await survivor(home)
    assert view is not None and view.state.status is Status.RUNNING
    assert list(home.machine.vms) == [view.id]
