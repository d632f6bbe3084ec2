# SPDX-License-Identifier: Apache-2.0
"""What the store keeps, for whom, under which names, and what it forgets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import Conflict, Internal, InvalidArgument, NoSpace, NotFound
from hypercell.images import digests, removal
from hypercell.images.contract import Image as StoredImage
from hypercell.images.contract import Images
from hypercell.images.store import ImageStore, open_store
from tests.images.conftest import QUICK
from tests.images.fake_registry import FakeRegistry
from tests.images.test_archives import docker_archive, load
from tests.support.images import Image, descriptor, sha256, tar

BASE = tar({"base": b"x" * 1000})
ONE = Image([BASE, tar({"one": b"1"})], compression="none", created="2024-01-01T00:00:00Z")
TWO = Image([BASE, tar({"two": b"2"})], compression="none", created="2025-01-01T00:00:00Z")


async def put(store: ImageStore, image: Image, *tags: str, tenant: str = "default") -> StoredImage:
    loaded = await load(store, tar(docker_archive(image, tags)), tenant)
    return loaded[-1][0]


async def pull(store: ImageStore, name: str, tenant: str = "default") -> StoredImage:
    return await store.pull(tenant, name, "", None, lambda _: None)


def files(tmp_path: Path) -> set[str]:
    """Names of all blobs and chains."""
    images = tmp_path / "images"
    places = (images / "blobs" / "sha256", images / "chains", images / "tmp")
    return {path.name for place in places for path in place.iterdir()}


def test_the_store_is_what_the_contract_asks_for(store: ImageStore) -> None:
    images: Images = store
    assert images.in_use("sha256:x") == []


async def test_an_image_is_found_by_name_digest_id_and_prefix(store: ImageStore) -> None:
    async with FakeRegistry() as registry:
        name = registry.put("app", "1", ONE)
        image = await pull(store, name)
    references = [name, image.digests[0], image.id, image.id[7:], image.id[7:19], image.id[:30], image.id[7:8]]
    for reference in references:
        assert await store.get("default", reference) == image


async def test_a_familiar_name_finds_the_image_however_it_is_spelled(store: ImageStore) -> None:
    image = await put(store, ONE, "busybox:latest")
    for name in ("busybox", "library/busybox", "docker.io/busybox", "docker.io/library/busybox:latest"):
        assert (await store.get("default", name)).id == image.id


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nope", "nope:latest"),
        ("nope:1", "nope:1"),
        ("docker.io/library/nope", "nope:latest"),
        ("0" * 12, "000000000000:latest"),
        ("sha256:" + "0" * 64, "sha256:" + "0" * 64),
    ],
)
async def test_what_is_not_here_is_not_found_in_dockers_words(store: ImageStore, reference: str, said: str) -> None:
    with pytest.raises(NotFound, match=f"No such image: {said}$"):
        await store.get("default", reference)


async def test_a_prefix_of_two_images_is_ambiguous(store: ImageStore) -> None:
    seen: dict[str, Image] = {}
    for number in range(40):
        image = Image([BASE], {"Labels": {"n": str(number)}}, compression="none")
        twin = seen.setdefault(image.id[7:8], image)
        if twin is not image:
            await put(store, twin)
            await put(store, image)
            with pytest.raises(InvalidArgument, match="ambiguous"):
                await store.get("default", image.id[7:8])
            return
    raise AssertionError("forty ids with different first digits")


async def test_images_are_listed_newest_first_with_their_names(store: ImageStore) -> None:
    one = await put(store, ONE, "one:1", "one:2")
    two = await put(store, TWO)
    assert [(image.id, image.tags) for image in await store.list("default")] == [
        (two.id, ()),
        (one.id, ("one:1", "one:2")),
    ]


async def test_a_tag_moves_from_one_image_to_another(store: ImageStore) -> None:
    one, two = await put(store, ONE, "app:1"), await put(store, TWO, "other:1")
    await store.tag("default", two.id[7:19], "app", "1")
    assert (await store.get("default", "app:1")).id == two.id
    assert (await store.get("default", one.id)).tags == ()
    assert (await store.get("default", two.id)).last_tagged_ns >= two.last_tagged_ns > 0
    await store.tag("default", "app:1", "a.test:5000/app", "")
    assert "a.test:5000/app:latest" in (await store.get("default", two.id)).tags


@pytest.mark.parametrize(
    ("repository", "tag"), [("App", "1"), ("app", "a b"), ("app", "../x"), ("app@sha256:" + "0" * 64, ""), ("", "1")]
)
async def test_a_wrong_name_is_no_tag(store: ImageStore, repository: str, tag: str) -> None:
    image = await put(store, ONE)
    with pytest.raises(InvalidArgument):
        await store.tag("default", image.id, repository, tag)


async def test_removing_one_of_two_tags_only_untags(store: ImageStore) -> None:
    image = await put(store, ONE, "app:1", "app:2")
    assert await store.remove("default", "app:1") == [("untagged", "app:1")]
    assert (await store.get("default", "app:2")).id == image.id


async def test_removing_the_last_tag_deletes_the_image_and_every_byte_of_it(store: ImageStore, tmp_path: Path) -> None:
    image = await put(store, ONE, "app:1")
    chains = digests.chain_ids(digests.parse(diff_id) for diff_id in image.diff_ids)
    assert await store.remove("default", "app:1") == [
        ("untagged", "app:1"), ("deleted", image.id), ("deleted", chains[1]), ("deleted", chains[0]),
    ]  # fmt: skip
    assert files(tmp_path) == set()
    assert await store.disk_usage() == 0


async def test_layers_that_another_image_has_stay(store: ImageStore, tmp_path: Path) -> None:
    one, two = await put(store, ONE, "one:1"), await put(store, TWO, "two:1")
    removed = await store.remove("default", "one:1")
    assert removed == [("untagged", "one:1"), ("deleted", one.id), ("deleted", one.chain_id)]
    assert sha256(BASE)[7:] in files(tmp_path)
    assert (await store.root(two.id)).path.exists()


async def test_the_last_tag_of_a_repository_takes_its_digest_along(store: ImageStore) -> None:
    async with FakeRegistry() as registry:
        name = registry.put("app", "1", ONE)
        image = await pull(store, name)
        removed = await store.remove("default", name)
    assert removed[:3] == [("untagged", name), ("untagged", image.digests[0]), ("deleted", image.id)]


async def test_an_image_with_several_tags_is_not_removed_by_id_without_force(store: ImageStore) -> None:
    image = await put(store, ONE, "app:1", "app:2")
    with pytest.raises(Conflict) as caught:
        await store.remove("default", image.id)
    assert caught.value.message == (
        f"conflict: unable to delete {image.id[7:19]} (must be forced) - image is referenced in multiple repositories"
    )
    removed = await store.remove("default", image.id[7:19], force=True)
    assert removed[:3] == [("untagged", "app:1"), ("untagged", "app:2"), ("deleted", image.id)]


async def test_an_image_that_a_container_uses_is_not_removed(store: ImageStore) -> None:
    image = await put(store, ONE, "app:1")
    container = "c" * 64
    store.in_use = lambda image_id: [container] if image_id == image.id else []
    with pytest.raises(Conflict) as caught:
        await store.remove("default", "app:1")
    assert caught.value.message == (
        'conflict: unable to remove repository reference "app:1" (must force) - '
        f"container {'c' * 12} is using its referenced image {image.id[7:19]}"
    )
    words = r"\(must be forced\) - image is being used by stopped container " + "c" * 12
    with pytest.raises(Conflict, match=words):
        await store.remove("default", image.id)
    store.runs = lambda each: each == container
    words = r"\(cannot be forced\) - image is being used by running container " + "c" * 12
    for force in (False, True):
        with pytest.raises(Conflict, match=words):
            await store.remove("default", image.id, force=force)
    assert (await store.prune("default", lambda _: False)) == ([], 0)
    assert (await store.get("default", "app:1")).id == image.id


async def test_a_name_that_moved_since_its_users_were_asked_for_takes_no_image_with_it(store: ImageStore) -> None:
    before = await put(store, ONE, "app:1")
    image = await put(store, TWO, "app:1")
    with pytest.raises(Conflict, match="changed"):
        await store._db.run(lambda tx: removal.remove(tx, "default", "app:1", True, {before.id: []}))
    assert (await store.get("default", "app:1")).id == image.id


async def test_force_takes_the_names_of_a_used_image_but_not_its_content(store: ImageStore) -> None:
    image = await put(store, ONE, "app:1")
    store.in_use = lambda _: ["c" * 64]
    assert await store.remove("default", "app:1", force=True) == [("untagged", "app:1")]
    assert (await store.root(image.id)).path.exists()
    with pytest.raises(Conflict, match="cannot be forced"):
        await store.remove("default", image.id, force=True)
    store.in_use = lambda _: []
    assert ("deleted", image.id) in (await store.prune("default", lambda image: bool(image.tags)))[0]


async def test_uploads_that_stall_keep_nobody_from_the_worker_threads(store: ImageStore) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"\0"
        await asyncio.Event().wait()

    loads = [asyncio.ensure_future(store.load("default", stalled(), lambda _: None)) for _ in range(40)]
    try:
        await asyncio.sleep(0.1)
        await asyncio.wait_for(asyncio.to_thread(lambda: None), 5)
    finally:
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, return_exceptions=True)


async def test_a_root_that_was_lost_with_its_layers_is_told_and_comes_back_with_the_image(
    store: ImageStore, tmp_path: Path
) -> None:
    image = await put(store, ONE, "app:1")
    for directory in ("chains", "blobs/sha256"):
        for path in (tmp_path / "images" / directory).iterdir():
            path.unlink()
    with pytest.raises(Internal, match="is missing from the store: pull or load the image again"):
        await store.root(image.id)
    await put(store, ONE, "app:1")
    assert (await store.root(image.id)).path.exists()


async def test_prune_removes_what_is_not_kept_and_tells_the_bytes(store: ImageStore, tmp_path: Path) -> None:
    one, two = await put(store, ONE), await put(store, TWO, "two:1")
    before = await store.disk_usage()
    removed, freed = await store.prune("default", lambda image: bool(image.tags))
    assert ("deleted", one.id) in removed
    assert freed == before - await store.disk_usage() > 0
    assert [image.id for image in await store.list("default")] == [two.id]


async def test_tenants_do_not_see_each_others_images(store: ImageStore) -> None:
    image = await put(store, ONE, "app:1", tenant="alice")
    assert await store.list("bob") == []
    for reference in ("app:1", image.id, image.id[7:19]):
        with pytest.raises(NotFound):
            await store.get("bob", reference)
        with pytest.raises(NotFound):
            await store.remove("bob", reference, force=True)
        with pytest.raises(NotFound):
            await store.tag("bob", reference, "mine", "1")
        with pytest.raises(NotFound):
            _ = [chunk async for chunk in store.save("bob", [reference])]


async def test_content_is_shared_and_stays_until_the_last_tenant_lets_go(store: ImageStore, tmp_path: Path) -> None:
    image = await put(store, ONE, "app:1", tenant="alice")
    before = files(tmp_path)
    await put(store, ONE, "app:1", tenant="bob")
    assert files(tmp_path) == before
    assert ("deleted", image.id) in await store.remove("alice", "app:1")
    assert files(tmp_path) == before
    assert (await store.root(image.id)).path.exists()
    await store.remove("bob", "app:1")
    assert files(tmp_path) == set()


async def test_naming_another_tenants_layer_does_not_give_it(store: ImageStore) -> None:
    """A manifest with the digest of somebody's private layer is no right to its content."""
    await put(store, ONE, "secret:1", tenant="alice")
    async with FakeRegistry() as registry:
        name = registry.put("thief", "1", ONE)
        for blob in ONE.layer_blobs:
            del registry.documents[f"/v2/thief/blobs/{sha256(blob)}"]
        with pytest.raises(NotFound, match="does not have the blob"):
            await pull(store, name, "bob")


async def test_claiming_another_tenants_diff_ids_does_not_give_their_root(store: ImageStore) -> None:
    """Same chain id, other layers: the root that is there must not be handed out."""
    await put(store, ONE, "secret:1", tenant="alice")
    fake = [tar({"fake": bytes([number])}) for number in range(len(ONE.layers))]
    layers = [descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in fake]
    thief = Image(ONE.layers, {"Labels": {"a": "b"}}, compression="none", manifest_extra={"layers": layers})
    async with FakeRegistry() as registry:
        name = registry.put("thief", "1", thief)
        for layer in fake:
            registry.documents[f"/v2/thief/blobs/{sha256(layer)}"] = layer, "application/octet-stream"
        with pytest.raises(InvalidArgument):
            await pull(store, name, "bob")
    assert await store.list("bob") == []


async def test_a_root_that_was_lost_is_built_again(store: ImageStore) -> None:
    image = await put(store, ONE, "app:1")
    root = await store.root(image.id)
    content = root.path.read_bytes()
    root.path.unlink()
    roots = await asyncio.gather(*(store.root(image.id) for _ in range(4)))
    assert {item.path.read_bytes() for item in roots} == {content}
    with pytest.raises(NotFound):
        await store.root("sha256:" + "0" * 64)


async def test_a_new_daemon_removes_what_a_killed_one_left_and_keeps_the_rest(
    store: ImageStore, database: Database, tmp_path: Path
) -> None:
    image = await put(store, ONE, "app:1")
    kept = files(tmp_path)
    images = tmp_path / "images"
    (images / "tmp" / "half-a-blob").write_bytes(b"x")
    (images / "tmp" / ".half-a-root").write_bytes(b"x")
    (images / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"a pull that was never recorded")
    (images / "chains" / ("1" * 64 + ".erofs")).write_bytes(b"a root that was never recorded")
    (images / "chains" / "rubbish").write_bytes(b"")
    again = await open_store(Config(root=tmp_path, reserve_bytes=0), database, QUICK)
    assert files(tmp_path) == kept
    assert await again.get("default", "app:1") == image


async def test_a_blob_in_flight_is_not_swept(store: ImageStore, tmp_path: Path) -> None:
    blobs = store._blobs
    with blobs.lease() as lease:
        digest = blobs.put(b"in flight", lease)
        await store.prune("default", lambda _: True)
        assert blobs.size(digest) == 9
    await store.prune("default", lambda _: True)
    assert blobs.size(digest) is None


async def test_a_blob_that_was_leased_during_a_sweep_survives_it(store: ImageStore) -> None:
    """The sweep asked the database before the image was recorded, and looks at the file after its lease ended."""
    blobs = store._blobs
    with blobs.lease() as lease:
        digest = blobs.put(b"found again", lease)
    blobs.begin_sweep()
    with blobs.lease() as lease:
        lease.add(digest)
    blobs.sweep(blobs.directory, "", set())
    assert blobs.size(digest) is not None
    blobs.end_sweep()


async def test_a_damaged_document_is_noticed(store: ImageStore, tmp_path: Path) -> None:
    image = await put(store, ONE, "app:1")
    config = tmp_path / "images" / "blobs" / "sha256" / image.id[7:]
    config.chmod(0o600)
    config.write_bytes(config.read_bytes().replace(b"2024", b"2023"))
    with pytest.raises(Internal, match="damaged on disk"):
        _ = [chunk async for chunk in store.save("default", ["app:1"])]


async def test_nothing_of_the_store_can_be_written_or_listed_by_others(store: ImageStore, tmp_path: Path) -> None:
    image = await put(store, ONE, "app:1")
    images = tmp_path / "images"
    for directory, mode in {"": 0o711, "chains": 0o711, "blobs/sha256": 0o700, "tmp": 0o700}.items():
        assert (images / directory).stat().st_mode & 0o777 == mode
    assert (await store.root(image.id)).path.stat().st_mode & 0o777 == 0o444
    for blob in (images / "blobs" / "sha256").iterdir():
        assert blob.stat().st_mode & 0o077 == 0


async def test_a_disk_that_is_full_while_writing_is_no_space(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    async with FakeRegistry() as registry:
        name = registry.put("app", "1", ONE)
        for call in ("write", "fsync"):
            with monkeypatch.context() as patched:
                patched.setattr(os, call, full)
                with pytest.raises(NoSpace):
                    await pull(store, name)
            assert files(tmp_path) == set()
        assert (await pull(store, name)).id == ONE.id


async def test_the_same_config_under_another_manifest_is_the_same_image(store: ImageStore) -> None:
    async with FakeRegistry() as registry:
        first = await pull(store, registry.put("app", "1", ONE))
        squeezed = Image(ONE.layers, ONE.run, compression="gzip", created=ONE.created)
        second = await pull(store, registry.put("app", "2", squeezed))
    assert first.id == second.id
    assert len(second.tags) == len(second.digests) == 2
    assert len(await store.list("default")) == 1


@pytest.mark.parametrize("tags", [(), ("old:1",)])
async def test_an_image_that_is_tagged_while_images_are_pruned_stays(
    store: ImageStore, database: Database, monkeypatch: pytest.MonkeyPatch, tags: tuple[str, ...]
) -> None:
    image = await put(store, ONE, *tags)
    run = database.run
    judged = False

    async def tag_after_the_first(work: Any) -> Any:
        nonlocal judged
        found = await run(work)
        if not judged:
            judged = True
            await store.tag("default", image.id, "given", "1")
        return found

    monkeypatch.setattr(database, "run", tag_after_the_first)
    assert (await store.prune("default", lambda image: False))[0] == []
    assert (await store.get("default", image.id)).tags == ("given:1", *tags)
    assert (await store.root(image.id)).path.exists()


async def test_the_sizes_of_layers_are_kept_and_0_for_those_that_came_before_they_were(
    store: ImageStore, database: Database
) -> None:
    image = await put(store, Image([tar({"a": b"1"}), tar({"b": b"2" * 5000, "c": b"3"})]))
    assert await store.layer_sizes("default", image.id) == [1, 5001]
    assert await store.layer_sizes("somebody", image.id) == []
    await database.run(lambda tx: tx.execute("UPDATE layer_facts SET content_bytes = NULL WHERE content_bytes = 1"))
    assert await store.layer_sizes("default", image.id) == [0, 5001]
