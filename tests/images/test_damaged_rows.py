# SPDX-License-Identifier: Apache-2.0
"""An image whose row cannot be read hides no other, says what to do, and comes back when it is loaded again."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import Internal
from hypercell.images.store import ImageStore, open_store
from tests.images.test_store import ONE, TWO, put

RECORD = [
    "UPDATE images SET config = '{' WHERE id = ?",
    "UPDATE images SET config = x'ff' WHERE id = ?",
    "UPDATE images SET config = CAST(x'ff' AS TEXT) WHERE id = ?",
    "UPDATE images SET chain_id = 'sha256:../../etc' WHERE id = ?",
    "UPDATE images SET size = 'big' WHERE id = ?",
    "UPDATE images SET created_ns = -1 WHERE id = ?",
    "UPDATE images SET last_tagged_ns = x'00' WHERE id = ?",
]
LAYERS = [
    "UPDATE image_layers SET digest = 'x' WHERE image_id = ?",
    "UPDATE image_layers SET diff_id = x'00' WHERE image_id = ?",
    "UPDATE image_layers SET chain_id = '../../etc' WHERE image_id = ?",
    "UPDATE image_layers SET size = 'x' WHERE image_id = ?",
]


async def reopened(tmp_path: Path, database: Database, sql: str, ident: str) -> ImageStore:
    await database.run(lambda tx: tx.execute(sql, (ident,)) and None)
    return await open_store(Config(root=tmp_path, run=tmp_path, reserve_bytes=0), database)


@pytest.mark.parametrize("sql", RECORD)
async def test_an_image_that_cannot_be_read_hides_no_other(
    store: ImageStore, database: Database, tmp_path: Path, sql: str, caplog: pytest.LogCaptureFixture
) -> None:
    torn, other = await put(store, ONE, "torn:1"), await put(store, TWO, "other:1")
    store = await reopened(tmp_path, database, sql, torn.id)
    assert {image.id: image.tags for image in await store.list("default")} == {
        torn.id: ("torn:1",),
        other.id: ("other:1",),
    }
    await store.list("default")
    assert await store.get("default", "other:1") == other
    with pytest.raises(Internal, match=r"cannot be read.*pull or load it again, or remove it"):
        await store.get("default", "torn:1")
    told = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert len(told) == 1 and torn.id[7:19] in told[0].getMessage()

    assert ("deleted", torn.id) in await store.remove("default", "torn:1")
    assert [image.id for image in await store.list("default")] == [other.id]


@pytest.mark.parametrize("sql", RECORD + LAYERS)
async def test_an_image_that_cannot_be_read_is_whole_again_when_it_is_loaded_again(
    store: ImageStore, database: Database, tmp_path: Path, sql: str
) -> None:
    torn = await put(store, ONE, "torn:1", "torn:2")
    store = await reopened(tmp_path, database, sql, torn.id)
    await put(store, ONE, "torn:1")
    mended = await store.get("default", "torn:2")
    assert (mended.config, mended.size, mended.tags) == (torn.config, torn.size, ("torn:1", "torn:2"))
    assert (await store.root(torn.id)).chain_id == torn.chain_id


@pytest.mark.parametrize("sql", LAYERS)
async def test_a_root_whose_layers_cannot_be_read_is_refused_with_a_hint(
    store: ImageStore, database: Database, tmp_path: Path, sql: str
) -> None:
    torn, other = await put(store, ONE, "torn:1"), await put(store, TWO, "other:1")
    store = await reopened(tmp_path, database, sql, torn.id)
    with pytest.raises(Internal, match="pull or load it again"):
        await store.root(torn.id)
    assert (await store.root(other.id)).chain_id == other.chain_id


async def test_a_name_that_cannot_be_read_is_no_name(store: ImageStore, database: Database, tmp_path: Path) -> None:
    torn, other = await put(store, ONE, "torn:1"), await put(store, TWO, "other:1")
    store = await reopened(tmp_path, database, "UPDATE image_names SET value = x'ff' WHERE image_id = ?", torn.id)
    assert {image.id: image.tags for image in await store.list("default")} == {torn.id: (), other.id: ("other:1",)}
    assert (await store.get("default", torn.id)).tags == ()


async def test_facts_that_cannot_be_read_are_found_out_again(store: ImageStore, database: Database) -> None:
    image = await put(store, ONE, "one:1")
    for sql in ("UPDATE chain_facts SET content_bytes = 'x'", "UPDATE layer_facts SET diff_id = x'00'"):
        await database.run(lambda tx, sql=sql: tx.execute(sql) and None)  # type: ignore[misc]
        assert (await put(store, ONE, "two:1", tenant="another")).size == image.size
