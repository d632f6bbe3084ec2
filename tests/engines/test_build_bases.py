# SPDX-License-Identifier: Apache-2.0
"""What a build begins from: found here or fetched, and nobody's to take away while it is built upon."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hypercell.base.config import Config
from hypercell.base.errors import Conflict, NotFound, Unsupported
from hypercell.engines.build.bases import Bases
from hypercell.engines.build.builder import Builder
from hypercell.engines.build.contract import BuildRequest
from hypercell.images.contract import Progress
from hypercell.images.store import ImageStore
from tests.images.fake_registry import FakeRegistry
from tests.images.test_store import ONE, TWO, put

T = "default"


class Heard:
    """Takes what a build says."""

    def __init__(self) -> None:
        self.statuses: list[str] = []

    async def say(self, text: str) -> None: ...
    async def complain(self, text: str) -> None: ...
    async def made(self, image_id: str) -> None: ...

    def pulling(self, step: Progress) -> None:
        self.statuses.append(step.status)


def bases(store: ImageStore, heard: Heard | None = None, pull: bool = False) -> Bases:
    return Bases(T, store, Counter(), BuildRequest(pull=pull), heard or Heard())


async def test_an_image_that_is_here_is_taken_and_another_is_fetched(store: ImageStore) -> None:
    here, heard = await put(store, ONE, "here:1"), Heard()
    async with FakeRegistry() as registry:
        name = registry.put("app", "1", TWO)
        found = bases(store, heard)
        assert (await found.find("here:1", "")).id == here.id
        assert (await found.find(here.id, "")).id == here.id
        assert registry.requests == []
        assert (await found.find(name, "")).id == TWO.id
        asked = len(registry.requests)
        assert asked and "Pull complete" in heard.statuses
        assert (await found.find(name, "")).id == TWO.id
        assert len(registry.requests) == asked


async def test_who_wants_newer_images_has_the_registry_asked_once(store: ImageStore) -> None:
    async with FakeRegistry() as registry:
        name = registry.put("app", "1", ONE)
        await bases(store).find(name, "")
        registry.put("app", "1", TWO)
        assert (await bases(store).find(name, "")).id == ONE.id
        found = bases(store, pull=True)
        assert (await found.find(name, "")).id == TWO.id
        asked = len(registry.requests)
        assert (await found.find(name, "")).id == TWO.id
        assert len(registry.requests) == asked


async def test_what_cannot_be_begun_from_is_told(store: ImageStore) -> None:
    with pytest.raises(NotFound):
        await bases(store).find("sha256:" + "0" * 64, "")
    with pytest.raises(Unsupported, match="for linux/s390x"):
        await bases(store).find("here:1", "linux/s390x")


async def test_nothing_is_always_the_same_image(store: ImageStore) -> None:
    assert (await bases(store).find("scratch", "")).id == (await bases(store).find("scratch", "")).id


async def test_an_image_that_is_built_upon_cannot_be_removed_meanwhile(store: ImageStore, tmp_path: Path) -> None:
    image = await put(store, ONE)
    builder = Builder(Config(root=tmp_path), None, store)  # type: ignore[arg-type]
    under_way = Bases(T, store, builder._held, BuildRequest(), Heard())
    await under_way.find(image.id, "")
    with pytest.raises(Conflict, match="container a build"):
        await store.remove(T, image.id)
    await store.prune(T, lambda _: False)
    assert await store.get(T, image.id)
    under_way.release()
    await store.remove(T, image.id)
