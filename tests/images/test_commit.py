# SPDX-License-Identifier: Apache-2.0
"""Images made of others: what they have and say, what is found again, and what goes with what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hypercell.base.errors import Conflict, InvalidArgument, NotFound
from hypercell.images.committing import EMPTY, EMPTY_TAR
from hypercell.images.contract import Revision
from hypercell.images.store import ImageStore
from tests.images.test_store import BASE, ONE, files, put
from tests.support.images import Image, sha256, tar

T = "default"
MORE = tar({"more": b"more"})


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


def said(text: str = "by hand", step: str = "", **config: object) -> Revision:
    return Revision(config, created_by=text, step=step)


async def test_an_image_has_its_parents_layers_and_one_more(store: ImageStore) -> None:
    base = await put(store, ONE, "base:1")
    made = await store.commit(T, "base:1", body(MORE), Revision({"Cmd": ["x"]}, "x", "a note", "me"), "app", "1")
    assert made.diff_ids == (*base.diff_ids, sha256(MORE))
    assert (made.tags, made.parent, made.config.command, made.config.author) == (("app:1",), base.id, ("x",), "me")
    assert made.config.history[:-1] == base.config.history
    step = dict(made.config.history[-1])
    assert step.pop("created") == made.config.created
    assert step == {"created_by": "x", "comment": "a note", "author": "me"}
    assert (await store.root(made.id)).chain_id == made.chain_id
    assert (await store.get(T, "base:1")).has_children


async def test_what_changes_nothing_adds_no_layer(store: ImageStore) -> None:
    base = await put(store, ONE)
    for layer in (None, body(EMPTY_TAR)):
        made = await store.commit(T, base.id, layer, said())
        assert made.diff_ids == base.diff_ids
        assert made.config.history[-1]["empty_layer"] is True


async def test_an_image_of_nothing_has_the_empty_layer_until_it_has_another(store: ImageStore) -> None:
    nothing = await store.commit(T, "", None, Revision({}, created="1970-01-01T00:00:00Z"))
    assert (nothing.diff_ids, nothing.parent, nothing.config.history) == ((EMPTY,), "", ())
    again = await store.commit(T, "", None, Revision({}, created="1970-01-01T00:00:00Z"))
    assert again.id == nothing.id
    named = await store.commit(T, nothing.id, None, said(Env=["A=1"]))
    assert named.diff_ids == (EMPTY,)
    made = await store.commit(T, named.id, body(MORE), said())
    assert made.diff_ids == (sha256(MORE),)
    await store.root(made.id)


async def test_a_step_is_found_again_by_its_parent_and_for_its_tenant(store: ImageStore) -> None:
    base, other = await put(store, ONE), await put(store, Image([BASE], compression="none"))
    first = await store.commit(T, base.id, body(MORE), said(step="RUN x"))
    second = await store.commit(T, base.id, body(tar({"x": b""})), said(step="RUN x"))
    found = await store.made_by(T, base.id, "RUN x")
    assert found is not None and found.id == second.id != first.id
    assert await store.made_by(T, base.id, "RUN y") is None
    assert await store.made_by(T, other.id, "RUN x") is None
    assert await store.made_by("somebody", base.id, "RUN x") is None
    await store.remove(T, second.id)
    found = await store.made_by(T, base.id, "RUN x")
    assert found is not None and found.id == first.id


async def test_nameless_parents_go_with_their_last_child_and_named_ones_stay(store: ImageStore) -> None:
    base = await put(store, ONE, "base:1")
    step = await store.commit(T, base.id, body(MORE), said())
    last = await store.commit(T, step.id, None, said(Env=["A=1"]), "app", "1")
    twin = await store.commit(T, step.id, None, said(Env=["A=2"]), "app", "2")
    with pytest.raises(Conflict, match="has dependent child images"):
        await store.remove(T, step.id, force=True)
    gone = await store.remove(T, "app:1")
    assert [name for what, name in gone if what == "deleted" and name in (step.id, last.id)] == [last.id]
    gone = await store.remove(T, "app:2")
    assert {name for what, name in gone if what == "deleted"} >= {twin.id, step.id}
    assert [image.id for image in await store.list(T)] == [base.id]


async def test_parents_stay_where_a_container_uses_them_or_the_caller_wants_them(store: ImageStore) -> None:
    base = await put(store, ONE, "base:1")
    step = await store.commit(T, base.id, body(MORE), said())
    await store.commit(T, step.id, None, said(Env=["A=1"]), "app", "1")
    await store.remove(T, "app:1", prune=False)
    await store.commit(T, step.id, None, said(Env=["A=1"]), "app", "1")
    store.in_use = lambda image_id: ["c"] if image_id == step.id else []
    await store.remove(T, "app:1")
    assert {image.id for image in await store.list(T)} == {base.id, step.id}


async def test_a_name_with_children_is_taken_away_and_the_image_stays(store: ImageStore) -> None:
    base = await put(store, ONE, "base:1")
    await store.commit(T, base.id, body(MORE), said())
    assert await store.remove(T, "base:1") == [("untagged", "base:1")]
    kept = await store.get(T, base.id)
    assert (kept.tags, kept.dangling) == ((), False)


async def test_a_prune_takes_a_whole_nameless_family(store: ImageStore) -> None:
    base = await put(store, ONE, "base:1")
    step = await store.commit(T, base.id, body(MORE), said())
    await store.commit(T, step.id, None, said(Env=["A=1"]))
    await store.prune(T, lambda image: not image.dangling)
    assert [image.id for image in await store.list(T)] == [base.id]


async def test_a_layer_that_breaks_off_or_is_none_leaves_nothing(store: ImageStore, tmp_path: Path) -> None:
    base = await put(store, ONE, "base:1")
    before = files(tmp_path)

    async def broken() -> AsyncIterator[bytes]:
        yield MORE[:512]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await store.commit(T, base.id, broken(), said())
    with pytest.raises(InvalidArgument):
        await store.commit(T, base.id, body(b"no tar" * 1000), said())
    with pytest.raises(InvalidArgument, match="Env"):
        await store.commit(T, base.id, body(MORE), said(Env=["=1"]))
    with pytest.raises(NotFound):
        await store.commit(T, "nobody", body(MORE), said())
    assert files(tmp_path) == before


async def test_a_commit_that_is_called_off_leaves_nothing(store: ImageStore, tmp_path: Path) -> None:
    base = await put(store, ONE, "base:1")
    before, begun = files(tmp_path), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield MORE
        begun.set()
        await asyncio.Event().wait()

    committing = asyncio.ensure_future(store.commit(T, base.id, endless(), said()))
    await begun.wait()
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    assert files(tmp_path) == before
