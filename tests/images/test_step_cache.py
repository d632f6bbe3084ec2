# SPDX-License-Identifier: Apache-2.0
"""What a prune takes of the cache of builds: the oldest first, no more than it must, nothing that is not wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from hypercell.base.db import Database
from hypercell.images.contract import CachedStep, Revision, Room
from hypercell.images.step_cache import Cache, blob_of, shared
from hypercell.images.store import ImageStore
from tests.images.test_store import ONE, put
from tests.support.image_shelf import image
from tests.support.images import tar

T = "default"
ALL = Room()


def step(name: str, used: int, parent: str = "") -> CachedStep:
    return CachedStep(replace(image("x:1", name), tags=(), parent=parent), used, False)


def cache(*steps: CachedStep, elsewhere: tuple[str, ...] = ()) -> Cache:
    """Each step has a piece of 100 bytes, and those of its parent."""
    parents = {one.image.id: one.image.parent for one in steps}
    needs = {}
    for name in parents:
        above, found = name, {blob_of(name)}
        while above := parents.get(above, ""):
            found.add(blob_of(above))
        needs[name] = frozenset(found)
    return Cache(steps, needs, [blob_of(name) for name in elsewhere], {blob_of(name): 100 for name in parents})


def everything(_: CachedStep) -> bool:
    return True


def test_without_a_limit_all_goes_and_children_before_what_they_were_made_of() -> None:
    found = cache(step("a", 1), step("b", 2, "a"), step("c", 3, "b"), step("d", 9))
    assert found.choose(everything, ALL, free=0) == ["c", "b", "a", "d"]
    assert found.used == 0


@pytest.mark.parametrize(
    ("room", "gone"),
    [
        (Room(most=300), []),
        (Room(most=299), ["old"]),
        (Room(most=100), ["old", "older"]),
        (Room(reserved=200), ["old"]),
        (Room(most=1, reserved=250), ["old"]),
        (Room(free=1000), []),
        (Room(free=1001), ["old"]),
        (Room(free=1150), ["old", "older"]),
        (Room(free=5000), ["old", "older", "young"]),
        (Room(free=5000, reserved=150), ["old", "older"]),
        (Room(free=900, most=200), ["old"]),
    ],
)
def test_as_much_goes_as_it_takes_and_the_least_recently_used_first(room: Room, gone: list[str]) -> None:
    found = cache(step("young", 30), step("old", 10), step("older", 20))
    assert found.choose(everything, room, free=1000) == gone


def test_what_others_need_counts_for_nothing() -> None:
    found = cache(step("a", 1), step("b", 2), elsewhere=("a",))
    assert found.used == 100
    assert found.choose(everything, Room(most=50), free=0) == ["a", "b"]


def test_what_is_not_wanted_stays_and_holds_what_it_was_made_of() -> None:
    found = cache(step("a", 1), step("b", 2, "a"), step("c", 3))
    assert found.choose(lambda one: one.image.id != "b", ALL, free=0) == ["c"]


def test_a_step_is_shared_if_anything_outside_the_cache_was_made_of_it() -> None:
    parents = {"named": "b", "b": "a", "a": "base", "c": "a", "other": "outside"}
    assert shared({"a", "b", "c"}, parents) == {"a", "b"}


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def grow(store: ImageStore, parent: str, name: str, tag: str = "") -> str:
    layer = body(tar({name: name.encode() * 100_000}))
    made = await store.commit(T, parent, layer, Revision({}, name, step=name), tag, "1" if tag else "")
    return made.id


async def test_the_step_that_a_build_has_just_taken_goes_last(store: ImageStore) -> None:
    base = await put(store, ONE, "base:1")
    first, second = await grow(store, base.id, "RUN 1"), await grow(store, base.id, "RUN 2")
    assert await store.made_by(T, base.id, "RUN 1") is not None
    gone, freed = await store.prune_steps(T, everything, Room(most=1))
    order = [name for what, name in gone if name in (first, second)]
    assert order == [second, first] and freed > 200_000


async def test_what_is_named_used_or_made_of_by_such_is_told_apart(store: ImageStore) -> None:
    base = await put(store, ONE, "base:1")
    behind = await grow(store, base.id, "RUN 1")
    await grow(store, behind, "RUN 2", "app")
    used, lone = await grow(store, base.id, "RUN 3"), await grow(store, base.id, "RUN 4")
    store.in_use = lambda image_id: ["c"] if image_id == used else []
    seen: dict[str, bool] = {}

    def wanted(one: CachedStep) -> bool:
        seen[one.image.id] = one.shared
        return not one.shared

    gone, _ = await store.prune_steps(T, wanted, ALL)
    assert seen == {behind: True, lone: False}
    assert {name for what, name in gone} & {behind, used, lone, base.id} == {lone}


async def test_a_step_of_before_uses_were_noted_is_as_old_as_its_image(store: ImageStore, database: Database) -> None:
    base = await put(store, ONE, "base:1")
    made = await grow(store, base.id, "RUN 1")
    await database.run(lambda tx: tx.execute("UPDATE image_lineage SET used_ns = 0"))
    times: list[int] = []
    await store.prune_steps(T, lambda one: bool(times.append(one.used_ns)), ALL)
    assert times == [(await store.get(T, made)).created_ns]
