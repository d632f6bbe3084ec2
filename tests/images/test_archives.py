# SPDX-License-Identifier: Apache-2.0
"""Archives of images and root file systems: what other tools write is loaded, what we write they read."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import lzma
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import HypercellError, InvalidArgument, NoSpace, NotFound
from hypercell.images.contract import Image as StoredImage
from hypercell.images.store import ImageStore, open_store
from tests.support.images import DOCKER, Image, Index, busybox, compact, descriptor, sha256, tar, write_layout

IMAGE = Image([tar({"a": b"1"}), tar({"b": b"2" * 5000})], {"Cmd": ["sh"], "Env": ["A=b"]})
PLAIN = Image(IMAGE.layers, IMAGE.run, compression="none")


async def stream(data: bytes, step: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        yield data[start : start + step]


async def load(store: ImageStore, data: bytes, tenant: str = "default") -> list[tuple[StoredImage, str]]:
    return await store.load(tenant, stream(data, 100_000), lambda _: None)


async def saved(store: ImageStore, *references: str) -> bytes:
    return b"".join([chunk async for chunk in store.save("default", list(references))])


def packed(directory: Path) -> bytes:
    return subprocess.run(["tar", "-C", directory, "-c", "."], check=True, capture_output=True).stdout


def docker_archive(image: Image, tags: Iterable[str] = ("app:1",), **changes: Any) -> dict[str, bytes | str | None]:
    """As `docker save` writes it: a directory per layer, documents at the end."""
    files: dict[str, bytes | str | None] = {}
    names = [f"{sha256(layer)[7:]}/layer.tar" for layer in image.layer_blobs]
    for name, layer in zip(names, image.layer_blobs, strict=True):
        files[name.rpartition("/")[0] + "/"] = None
        files[name] = layer
    config = f"{image.id[7:]}.json"
    files[config] = image.config
    files["manifest.json"] = compact([{"Config": config, "RepoTags": list(tags), "Layers": names, **changes}])
    return files


def skopeo(*arguments: str | Path) -> str:
    command = ["skopeo", *arguments]
    if arguments[0] == "copy":
        command[1:1] = ["--insecure-policy"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def empty(tmp_path: Path) -> bool:
    images = tmp_path / "images"
    places = (images / "blobs" / "sha256", images / "chains", images / "tmp")
    return not any(entry for place in places for entry in place.iterdir())


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
async def test_what_docker_save_writes_is_loaded(store: ImageStore, pack: Any) -> None:
    ((image, tag),) = await load(store, pack(tar(docker_archive(PLAIN, ["app:1"]))))
    assert (image.id, image.tags, tag) == (PLAIN.id, ("app:1",), "app:1")
    assert image.config.command == ("sh",)
    assert (await store.root(image.id)).path.exists()


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_what_skopeo_writes_is_loaded(store: ImageStore, tmp_path: Path, kind: str) -> None:
    layout = write_layout(tmp_path / "layout", {"x": busybox()})
    skopeo("copy", f"oci:{layout}:x", f"{kind}:{tmp_path}/image.tar:example.test/box:1")
    ((image, tag),) = await load(store, (tmp_path / "image.tar").read_bytes())
    assert tag == "example.test/box:1"
    assert image.diff_ids == (sha256(busybox().layers[0]),)
    assert image.config.env == ("PATH=/bin",)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_what_buildah_writes_is_loaded(store: ImageStore, tmp_path: Path, kind: str) -> None:
    layout = write_layout(tmp_path / "layout", {"x": busybox()})
    buildah = ["buildah", "--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([*buildah, *arguments], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    policy = tmp_path / "policy.json"
    policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    image_id = run("pull", "--signature-policy", policy, f"oci:{layout}:x")
    run("push", "--signature-policy", policy, image_id, f"{kind}:{tmp_path}/image.tar:example.test/box:1")
    ((image, tag),) = await load(store, (tmp_path / "image.tar").read_bytes())
    assert (tag, image.config.command) == ("example.test/box:1", ("sh",))


async def test_an_oci_layout_keeps_its_manifest_and_names(store: ImageStore, tmp_path: Path) -> None:
    other = Image([tar({"other": b""})])
    layout = write_layout(tmp_path / "layout", {"a.test/one:1": IMAGE, "a.test/two:2": other, "bare": IMAGE})
    loaded = await load(store, packed(layout))
    assert {tag: image.id for image, tag in loaded} == {"a.test/one:1": IMAGE.id, "a.test/two:2": other.id}
    with tarfile.open(fileobj=io.BytesIO(await saved(store, "a.test/one:1"))) as archive:
        assert f"blobs/sha256/{sha256(IMAGE.manifest)[7:]}" in archive.getnames()


async def test_of_several_platforms_in_a_layout_ours_is_loaded(store: ImageStore, tmp_path: Path) -> None:
    foreign = Image([tar({"a": b"s390x"})], architecture="s390x")
    layout = write_layout(tmp_path / "layout", {"a.test/multi:1": Index([foreign, IMAGE])})
    ((image, tag),) = await load(store, packed(layout))
    assert (image.id, tag) == (IMAGE.id, "a.test/multi:1")
    assert not (tmp_path / "images" / "blobs" / "sha256" / sha256(foreign.layer_blobs[0])[7:]).exists()


async def test_layers_that_are_links_to_another_image_are_found(store: ImageStore) -> None:
    files = docker_archive(PLAIN)
    listing = json.loads(files["manifest.json"])  # type: ignore[arg-type]
    real = listing[0]["Layers"][0]
    listing[0]["Layers"][0] = "again/layer.tar"
    files["again/layer.tar"] = f"../{real}"
    files["manifest.json"] = compact(listing)
    assert (await load(store, tar(files)))[0][0].id == PLAIN.id


async def test_what_is_saved_is_the_same_when_loaded_and_saved_again(
    store: ImageStore, tmp_path: Path, database: Database
) -> None:
    layout = write_layout(tmp_path / "layout", {"a.test/one:1": IMAGE, "a.test/one:2": IMAGE, "two:latest": busybox()})
    await load(store, packed(layout))
    first = await saved(store, "a.test/one", "two:latest")
    await load(store, first, "another")
    again = b"".join([chunk async for chunk in store.save("another", ["a.test/one", "two"])])
    assert again == first


async def test_other_tools_read_what_is_saved(store: ImageStore, tmp_path: Path) -> None:
    docker_types = Image(IMAGE.layers, IMAGE.run, compression="gzip", docker=True)
    await load(store, packed(write_layout(tmp_path / "layout", {"a.test/one:1": docker_types})))
    archive = tmp_path / "saved.tar"
    archive.write_bytes(await saved(store, "a.test/one:1"))
    seen = json.loads(skopeo("inspect", "--config", f"docker-archive:{archive}:a.test/one:1"))
    assert seen["config"]["Cmd"] == ["sh"]
    skopeo("copy", f"docker-archive:{archive}:a.test/one:1", f"oci:{tmp_path}/one:x")
    skopeo("copy", f"oci-archive:{archive}", f"oci:{tmp_path}/two:x")
    for copied in ("one", "two"):
        config = json.loads(skopeo("inspect", "--config", f"oci:{tmp_path}/{copied}:x"))
        assert config["rootfs"]["diff_ids"] == [sha256(layer) for layer in IMAGE.layers]
    with tarfile.open(archive) as members:
        assert {"index.json", "manifest.json", "oci-layout", "repositories"} <= set(members.getnames())


async def test_saving_names_what_was_asked_for(store: ImageStore) -> None:
    await load(store, tar(docker_archive(PLAIN, ["app:1", "app:2", "other:1"])))

    async def tags(*references: str) -> Any:
        with tarfile.open(fileobj=io.BytesIO(await saved(store, *references))) as archive:
            listing = archive.extractfile("manifest.json")
            assert listing is not None
            return [entry["RepoTags"] for entry in json.load(listing)]

    assert await tags("app:1") == [["app:1"]]
    assert await tags("app") == [["app:1", "app:2"]]
    assert await tags("app:1", "other:1") == [["app:1", "other:1"]]
    assert await tags(PLAIN.id[7:19]) == [None]
    with pytest.raises(NotFound, match="No such image: nope:latest"):
        await tags("app:1", "nope")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress, lzma.compress, bz2.compress],
                         ids=["plain", "gzip", "zstd", "xz", "bzip2"])  # fmt: skip
async def test_a_root_tar_becomes_an_image_of_one_layer(store: ImageStore, pack: Any) -> None:
    root = tar({"bin/sh": b"#!", "etc/": None})
    edits = ['CMD ["/bin/sh"]', "ENV A=1 B=2", "LABEL who=me", "WORKDIR /srv", "USER 5", "EXPOSE 80", "VOLUME /data"]
    image = await store.import_root("default", stream(pack(root)), "a.test/root", "1", "by hand", edits, "linux/arm64")
    assert image.tags == ("a.test/root:1",)
    assert image.diff_ids == (sha256(root),)
    config = image.config
    assert (config.architecture, config.command, config.env) == ("arm64", ("/bin/sh",), ("A=1", "B=2"))
    assert (config.working_dir, config.user, config.exposed_ports) == ("/srv", "5", ("80/tcp",))
    assert (config.labels, config.volumes) == ({"who": "me"}, ("/data",))
    assert config.history[0]["comment"] == "by hand"
    assert image.size == 2
    assert (await store.root(image.id)).path.exists()


async def test_an_import_without_a_name_is_found_by_its_id(store: ImageStore) -> None:
    image = await store.import_root("default", stream(tar({"a": b"1"})), "", "", "", [])
    assert image.tags == ()
    assert (await store.get("default", image.id[7:19])).config.history[0]["comment"] == "Imported from -"


@pytest.mark.parametrize("edits", [["RUN x"], ["ENV"]])
async def test_an_import_with_a_wrong_instruction_leaves_nothing(
    store: ImageStore, tmp_path: Path, edits: list[str]
) -> None:
    with pytest.raises(InvalidArgument):
        await store.import_root("default", stream(tar({"a": b"1"})), "x", "", "", edits)
    assert empty(tmp_path)


def _edited(**changes: Any) -> bytes:
    return tar(docker_archive(PLAIN, **changes))


def _replaced(**files: bytes | str | None) -> bytes:
    return tar({**docker_archive(PLAIN), **{name.replace("__", "."): data for name, data in files.items()}})


def _raw(kind: bytes, name: str = "x", linkname: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, linkname
        archive.addfile(member)
        member = tarfile.TarInfo("manifest.json")
        listing = compact([{"Config": name, "Layers": [name], "RepoTags": []}])
        member.size = len(listing)
        archive.addfile(member, io.BytesIO(listing))
    return buffer.getvalue()


def _raw_archive(config: bytes, layer: bytes) -> bytes:
    listing = compact([{"Config": "config", "Layers": ["layer"], "RepoTags": None}])
    return tar({"config": config, "layer": layer, "manifest.json": listing})


SHORT = Image([PLAIN.layers[0]], compression="none")
HOSTILE = {
    "nothing": b"",
    "noise": b"\x00\xff" * 5000,
    "truncated": _edited()[:3000],
    "half a gzip": gzip.compress(_edited())[:-20],
    "a root file system": tar({"bin/sh": b"x"}),
    "docker's first format": tar({"repositories": b"{}", "abc/json": b"{}"}),
    "a config elsewhere": _edited(Config="../../../../etc/passwd"),
    "an absolute config": _edited(Config="/etc/passwd"),
    "a layer elsewhere": _edited(Layers=["/etc/hostname", "../../x"]),
    "fewer layers than diff ids": _edited(Layers=[f"{sha256(PLAIN.layers[0])[7:]}/layer.tar"]),
    "layers in another order": _edited(Layers=[f"{sha256(layer)[7:]}/layer.tar" for layer in PLAIN.layers[::-1]]),
    "a layer that is not its diff id": tar(
        {**docker_archive(SHORT), f"{sha256(SHORT.layers[0])[7:]}/layer.tar": tar({"evil": b""})}
    ),
    "a name that is none": _edited(RepoTags=["../../x:1"]),
    "a name with a digest": _edited(RepoTags=["x@sha256:" + "0" * 64]),
    "a name without a tag": _edited(RepoTags=["x"]),
    "a listing of the wrong type": _replaced(manifest__json=b'{"Config":"x"}'),
    "a listing of numbers": _replaced(manifest__json=b"[1]"),
    "a listing that is a directory": tar({"manifest.json/": None}),
    "a listing larger than 4 MiB": _replaced(manifest__json=b" " * (5 * 1024 * 1024)),
    "a listing that is a link to itself": _replaced(manifest__json="manifest.json"),
    "a symlink to the host": _raw(tarfile.SYMTYPE, "x", "/etc/passwd"),
    "a hard link to the host": _raw(tarfile.LNKTYPE, "x", "../../../etc/passwd"),
    "a device": _raw(tarfile.CHRTYPE),
    "a fifo": _raw(tarfile.FIFOTYPE),
    "a layer in xz": _raw_archive(SHORT.config, lzma.compress(SHORT.layers[0])),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_archive_is_refused_and_leaves_nothing(store: ImageStore, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        await load(store, data)
    assert empty(tmp_path)
    assert await store.list("default") == []


async def test_a_member_that_comes_twice_is_refused(store: ImageStore) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("manifest.json", "./manifest.json"):
            member = tarfile.TarInfo(name)
            archive.addfile(member)
    with pytest.raises(InvalidArgument, match="twice"):
        await load(store, buffer.getvalue())


async def test_names_that_climb_create_nothing_outside_the_store(store: ImageStore, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    files = {f"{'../' * 20}{tmp_path}/pwned": b"x", "/tmp/hypercell-pwned": b"x", "../../pwned": b"x"}
    with pytest.raises(InvalidArgument):
        await load(store, tar(files))  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/hypercell-pwned").exists()


async def test_a_blob_that_the_archive_lacks_is_not_taken_from_the_store(store: ImageStore, tmp_path: Path) -> None:
    await load(store, tar(docker_archive(IMAGE)))
    layout = write_layout(tmp_path / "layout", {"a.test/thief:1": IMAGE})
    (layout / "blobs" / "sha256" / sha256(IMAGE.layer_blobs[0])[7:]).unlink()
    with pytest.raises(InvalidArgument, match="lacks the layer"):
        await load(store, packed(layout), "thief")


@pytest.mark.parametrize(
    "index",
    [
        {"schemaVersion": 2, "manifests": "x"},
        {"schemaVersion": 2, "manifests": [{**descriptor(IMAGE.media_type, IMAGE.manifest), "size": 1}]},
        {"schemaVersion": 2, "manifests": [descriptor(f"{DOCKER}.distribution.manifest.v2+json", IMAGE.manifest)]},
        {"schemaVersion": 2, "manifests": [{**descriptor(IMAGE.media_type, b""), "digest": "sha256:../../x"}]},
        {"schemaVersion": 2, "manifests": []},
        {"schemaVersion": 2, "config": {}, "layers": []},
    ],
)
async def test_a_layout_with_a_wrong_index_is_refused(store: ImageStore, tmp_path: Path, index: Any) -> None:
    layout = write_layout(tmp_path / "layout", {"x": IMAGE})
    (layout / "index.json").write_bytes(compact(index))
    with pytest.raises(InvalidArgument):
        await load(store, packed(layout))
    assert empty(tmp_path)


async def test_an_archive_that_uncompresses_without_end_is_refused(store: ImageStore, tmp_path: Path) -> None:
    async def bomb() -> AsyncIterator[bytes]:
        member = tarfile.TarInfo("bomb")
        member.size = 2**40
        yield gzip.compress(member.tobuf(tarfile.GNU_FORMAT))[:-8]
        yield gzip.compress(bytes(2**20))

    with pytest.raises(InvalidArgument):
        await store.load("default", bomb(), lambda _: None)
    assert empty(tmp_path)


async def test_an_archive_that_fills_the_reserve_is_refused(tmp_path: Path, database: Database) -> None:
    store = await open_store(Config(root=tmp_path, reserve_bytes=2**60), database)
    with pytest.raises(NoSpace):
        await load(store, tar({"large": bytes(20 * 1024 * 1024)}))
    assert empty(tmp_path)


async def test_a_client_that_goes_away_leaves_nothing(store: ImageStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield tar(docker_archive(PLAIN))[:2000]
        raise ConnectionResetError("gone")

    with pytest.raises((HypercellError, ConnectionResetError)):
        await store.load("default", broken(), lambda _: None)
    assert empty(tmp_path)


async def test_a_load_that_is_cancelled_ends_at_once_and_leaves_nothing(store: ImageStore, tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield tar(docker_archive(PLAIN))[:2000]
        waiting.set()
        await asyncio.sleep(60)

    task = asyncio.ensure_future(store.load("default", silent(), lambda _: None))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert empty(tmp_path)
