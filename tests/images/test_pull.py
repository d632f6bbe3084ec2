# SPDX-License-Identifier: Apache-2.0
"""Pulls from a real registry: Debian's docker-registry."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from hypercell.base import config as settings
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import InvalidArgument, NoSpace, NotFound, Unauthorized, Unavailable
from hypercell.images.contract import Credentials, Progress
from hypercell.images.registries import RegistryClient
from hypercell.images.registry import tags as listing
from hypercell.images.store import ImageStore, open_store
from tests.images.certificates import Certificate, make_certificate
from tests.images.conftest import QUICK
from tests.images.fake_registry import FakeRegistry, Request, answer
from tests.support.images import Image, Index, busybox, compact, sha256, tar, write_layout
from tests.support.registry import Registry, running_registry

OUTSIDE = "198.51.100.7"
"""An address of the tests' own network that is not loopback."""
TWO_LAYERS = Image([tar({"a": b"1"}), tar({"b": b"2" * 5000})])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def outside() -> str:
    subprocess.run(["ip", "addr", "replace", f"{OUTSIDE}/32", "dev", "lo"], check=True)
    return OUTSIDE


async def pull(store: ImageStore, name: str, platform: str = "", credentials: Credentials | None = None) -> Any:
    return await store.pull("default", name, platform, credentials, lambda _: None)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("docker", [False, True])
async def test_every_compression_and_either_family_of_media_types_is_pulled(
    store: ImageStore, registry: Registry, compression: str, docker: bool
) -> None:
    image = Image([tar({"a": b"1"}), tar({"b": b"2"})], compression=compression, docker=docker)
    name = registry.push(f"kinds/{compression}-{docker}".lower() + ":1", image)
    pulled = await pull(store, name)
    assert pulled.id == image.id
    assert pulled.tags == (name,)
    assert pulled.digests == (f"{name.removesuffix(':1')}@{sha256(image.manifest)}",)
    root = await store.root(pulled.id)
    assert root.path.stat().st_mode & 0o777 == 0o444
    assert root.path.read_bytes()[1024:1028] == bytes.fromhex("e2e1f5e0")  # EROFS


async def test_what_skopeo_pushes_is_pulled(store: ImageStore, registry: Registry, tmp_path: Path) -> None:
    image = busybox()
    layout = write_layout(tmp_path / "layout", {"latest": image})
    subprocess.run(
        ["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", f"oci:{layout}:latest",
         f"docker://{registry.host}/by-skopeo:1"],
        check=True, capture_output=True,
    )  # fmt: skip
    pulled = await pull(store, f"{registry.host}/by-skopeo:1")
    assert pulled.id == image.id
    assert pulled.config.command == ("sh",)


async def test_an_index_gives_the_platform_that_was_asked_for(store: ImageStore, registry: Registry) -> None:
    images = {
        ("amd64", ""): Image([tar({"a": b"amd64"})]),
        ("arm64", ""): Image([tar({"a": b"arm64"})], architecture="arm64"),
        ("arm", "v6"): Image([tar({"a": b"v6"})], architecture="arm", variant="v6"),
        ("arm", "v7"): Image([tar({"a": b"v7"})], architecture="arm", variant="v7"),
    }
    index = Index(list(images.values()))
    name = registry.push("multi:1", index)
    for asked, key in {
        "linux/amd64": ("amd64", ""),
        "linux/arm64": ("arm64", ""),
        "linux/arm": ("arm", "v7"),
        "linux/arm/v6": ("arm", "v6"),
    }.items():
        pulled = await pull(store, name, asked)
        assert pulled.id == images[key].id
        assert f"{registry.host}/multi@{sha256(index.manifest)}" in pulled.digests
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x"):
        await pull(store, name, "linux/s390x")


async def test_a_name_without_a_choice_gives_what_there_is_and_says_so(store: ImageStore, registry: Registry) -> None:
    name = registry.push("single:1", TWO_LAYERS)
    told: list[Progress] = []
    pulled = await store.pull("default", name, "linux/arm64", None, told.append)
    assert pulled.id == TWO_LAYERS.id
    assert told[-1].status == (
        f"WARNING: image with reference {name} was found but its platform (linux/amd64) does not match"
        " the specified platform (linux/arm64)"
    )
    told.clear()
    await store.pull("default", name, "linux/amd64", None, told.append)
    assert told[-1].status.startswith("Status: ")


async def test_all_tags_of_a_repository_are_pulled(store: ImageStore, registry: Registry) -> None:
    first = Image([tar({"a": b"first"})])
    names = [registry.push(f"several:{tag}", image) for tag, image in (("1", first), ("2", TWO_LAYERS), ("3", first))]
    repository = names[0].removesuffix(":1")
    told: list[Progress] = []
    images = await store.pull_all("default", repository, "", None, told.append)
    assert sorted(image.id for image in images) == sorted([first.id, TWO_LAYERS.id, first.id])
    assert {tag for image in await store.list("default") for tag in image.tags} == set(names)
    pulling = [step.id for step in told if step.status == f"Pulling from {repository}"]
    assert sorted(pulling) == ["1", "2", "3"]
    assert sum(step.status.startswith("Digest: ") for step in told) == 3
    assert [step.status for step in told if step.status.startswith("Status: ")] == [
        f"Status: Downloaded newer image for {repository}"
    ]
    told.clear()
    await store.pull_all("default", repository, "", None, told.append)
    assert told[-1].status == f"Status: Image is up to date for {repository}"


async def test_tags_of_a_repository_that_is_not_there_are_not_found(store: ImageStore, registry: Registry) -> None:
    with pytest.raises(NotFound, match="not found"):
        await store.pull_all("default", f"{registry.host}/nosuch", "", None, lambda _: None)


def paged(server: FakeRegistry, pages: dict[str, tuple[list[str], str]]) -> None:
    """Pages of tags by query, each with its `Link`."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        tags, link = pages[request.query]
        answer(writer, 200, compact({"name": "x", "tags": tags}), {"Link": link})

    server.on("/v2/paged/tags/list", handler)


async def test_a_list_of_tags_has_pages(store: ImageStore) -> None:
    async with FakeRegistry() as server:
        for tag in ("a", "b", "c"):
            server.put("paged", tag, TWO_LAYERS)
        absolute = f"http://{server.host}/v2/paged/tags/list?last=b"
        paged(
            server,
            {
                "": (["a"], '</v2/paged/tags/list?last=a&n=1>; rel="next"'),
                "last=a&n=1": (["b", "a"], f'<{absolute}>; rel="next"'),
                "last=b": (["c"], ""),
            },
        )
        images = await store.pull_all("default", f"{server.host}/paged", "", None, lambda _: None)
    assert len(images) == 3
    assert {tag.rpartition(":")[2] for image in images for tag in image.tags} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("tags", "link", "words"),
    [
        (["a"], '</v2/paged/tags/list>; rel="next"', "more than 3 pages"),
        (["a"], '<http://127.0.0.2:5/v2/paged/tags/list>; rel="next"', "go on elsewhere"),
        (["a"], '<http://[::1>; rel="next"', "go on elsewhere"),
        ([f"t{number}" for number in range(6)], "", "more than 5 tags"),
        (["a/../b"], "", "invalid tag format"),
    ],
)
async def test_a_list_of_tags_has_an_end_and_holds_tags(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, tags: list[str], link: str, words: str
) -> None:
    monkeypatch.setattr(listing, "MAX_PAGES", 3)
    monkeypatch.setattr(listing, "MAX_TAGS", 5)
    async with FakeRegistry() as server:
        paged(server, {"": (tags, link)})
        with pytest.raises(InvalidArgument, match=words):
            await store.pull_all("default", f"{server.host}/paged", "", None, lambda _: None)
    assert await store.list("default") == []


async def test_an_image_is_found_by_the_digest_it_was_pulled_by(store: ImageStore, registry: Registry) -> None:
    registry.push("pinned:1", TWO_LAYERS)
    name = f"{registry.host}/pinned@{sha256(TWO_LAYERS.manifest)}"
    pulled = await pull(store, name)
    assert (pulled.tags, pulled.digests) == ((), (name,))
    assert (await store.get("default", name)).id == pulled.id


async def test_progress_is_told_in_dockers_words(store: ImageStore, registry: Registry) -> None:
    name = registry.push("told:1", TWO_LAYERS)
    layer = sha256(TWO_LAYERS.layer_blobs[0]).removeprefix("sha256:")[:12]
    seen: list[Progress] = []
    await store.pull("default", name, "", None, seen.append)
    assert (seen[0].status, seen[0].id) == (f"Pulling from {registry.host}/told", "1")
    assert [item.status for item in seen if item.id == layer] == [
        "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete",
    ]  # fmt: skip
    assert [item.status for item in seen[-2:]] == [
        f"Digest: {sha256(TWO_LAYERS.manifest)}",
        f"Status: Downloaded newer image for {name}",
    ]
    seen.clear()
    await store.pull("default", name, "", None, seen.append)
    assert [item.status for item in seen if item.id == layer] == ["Pulling fs layer", "Already exists"]
    assert seen[-1].status == f"Status: Image is up to date for {name}"


async def test_a_tag_that_moved_leaves_the_old_image_without_a_name(store: ImageStore, registry: Registry) -> None:
    old = await pull(store, registry.push("moving:1", TWO_LAYERS))
    new = await pull(store, registry.push("moving:1", Image([tar({"a": b"new"})])))
    images = {image.id: image.tags for image in await store.list("default")}
    assert images == {old.id: (), new.id: (f"{registry.host}/moving:1",)}


async def test_many_pulls_of_one_image_at_once_download_and_build_it_once(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypercell.images import chains

    builds = 0
    build_root = chains.build_root

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal builds
        builds += 1
        return await build_root(*arguments, **options)

    monkeypatch.setattr(chains, "build_root", counted)
    async with FakeRegistry() as registry:
        name = registry.put("app", "1", TWO_LAYERS)
        pulled = await asyncio.gather(*(pull(store, name) for _ in range(8)))
        assert {image.id for image in pulled} == {TWO_LAYERS.id}
        for digest in TWO_LAYERS.blobs:
            assert len(registry.asked(f"/v2/app/blobs/{digest}")) == 1
    assert builds == 1


async def test_a_failed_pull_goes_on_from_the_layers_that_came(store: ImageStore) -> None:
    async with FakeRegistry() as registry:
        name = registry.put("app", "1", TWO_LAYERS)
        first, second = (f"/v2/app/blobs/{sha256(blob)}" for blob in TWO_LAYERS.layer_blobs)
        complete = asyncio.Event()

        def watch(item: Progress) -> None:
            if item.status == "Download complete":
                complete.set()

        async def refuse(request: Request, writer: asyncio.StreamWriter) -> None:
            await complete.wait()
            answer(writer, 404)

        registry.on(second, refuse)
        with pytest.raises(NotFound, match="does not have the blob"):
            await store.pull("default", name, "", None, watch)
        del registry.handlers[second]
        assert (await pull(store, name)).id == TWO_LAYERS.id
        assert len(registry.asked(first)) == 1


async def test_a_pull_that_does_not_fit_is_refused_before_it_begins(
    tmp_path: Path, database: Database, registry: Registry
) -> None:
    name = registry.push("big:1", TWO_LAYERS)
    store = await open_store(Config(root=tmp_path, reserve_bytes=2**60), database, QUICK)
    with pytest.raises(NoSpace, match="not enough space"):
        await pull(store, name)
    assert list((tmp_path / "images" / "blobs" / "sha256").iterdir()) == []


class TokenServer:
    """A real one: it signs what a real registry checks."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("authorization") != "Basic bWU6c2VjcmV0":
            return answer(writer, 401)
        query = parse_qs(request.query)
        scopes = (scope.split(":") for scope in query.get("scope", ()))
        access = [{"type": kind, "name": name, "actions": actions.split(",")} for kind, name, actions in scopes]
        token = await asyncio.to_thread(self.certificate.token, query["service"][0], access)
        return answer(writer, 200, f'{{"access_token":"{token}"}}'.encode())


async def test_token_authentication_with_a_real_registry(store: ImageStore, tmp_path: Path) -> None:
    certificate = await asyncio.to_thread(make_certificate, tmp_path / "keys", "127.0.0.1")
    async with FakeRegistry() as tokens:
        tokens.on("/token", TokenServer(certificate))
        auth = {
            "token": {
                "realm": f"http://{tokens.host}/token",
                "service": "a registry",
                "issuer": "tests",
                "rootcertbundle": str(certificate.certificate),
            }
        }
        with running_registry(tmp_path / "registry", auth=auth) as registry:
            access = [{"type": "repository", "name": "private/app", "actions": ["pull", "push"]}]
            push_token = certificate.token("a registry", access)
            name = registry.push("private/app:1", TWO_LAYERS, push_token)
            with pytest.raises(Unauthorized):
                await pull(store, name)
            with pytest.raises(Unauthorized):
                await pull(store, name, credentials=Credentials("me", "wrong"))
            me = Credentials("me", "secret", server_address=registry.host)
            assert (await pull(store, name, credentials=me)).id == TWO_LAYERS.id
            other = f"{registry.host}/private/other"
            await store.tag("default", name, other, "2")
            with pytest.raises(Unauthorized):
                await store.push("default", f"{other}:2", None, lambda _: None)
            told: list[str] = []
            await store.push("default", f"{other}:2", me, lambda step: told.append(step.status))
            assert told.count("Mounted from private/app") == 2
            await store.remove("default", TWO_LAYERS.id, force=True)
            assert (await pull(store, f"{other}:2", credentials=me)).digests == (
                f"{other}@{sha256(TWO_LAYERS.manifest)}",
            )
            client = RegistryClient(Config(), QUICK)
            assert await client.login(me) == ""
            with pytest.raises(Unauthorized):
                await client.login(replace(me, password="wrong"))


def configured(tmp_path: Path, *registries: settings.Registry) -> Config:
    return Config(root=tmp_path, reserve_bytes=0, registries=registries)


async def test_mirrors_are_asked_first_and_the_registry_last(
    tmp_path: Path, database: Database, registry: Registry
) -> None:
    name = registry.push("mirrored:1", TWO_LAYERS)
    async with FakeRegistry() as empty, FakeRegistry() as lying:
        lying.put("mirrored", "1", TWO_LAYERS)
        for path in list(lying.documents):
            if "blobs" in path:
                lying.documents[path] = b"lies", "application/octet-stream"
        entry = settings.Registry(registry.host, mirrors=(f"http://{empty.host}", lying.host, "127.0.0.1:1"))
        store = await open_store(configured(tmp_path, entry), database, QUICK)
        pulled = await pull(store, name, credentials=Credentials("me", "secret"))
        assert (pulled.id, pulled.tags) == (TWO_LAYERS.id, (name,))
        assert empty.asked("/v2/mirrored/manifests/1")
        assert lying.asked("/v2/mirrored/manifests/1")
        assert all("authorization" not in request.headers for request in empty.requests + lying.requests)


async def test_a_mirror_serves_the_default_registry(tmp_path: Path, database: Database, registry: Registry) -> None:
    registry.push("library/app:1", TWO_LAYERS)
    entry = settings.Registry("docker.io", mirrors=(f"http://{registry.host}",))
    store = await open_store(configured(tmp_path, entry), database, QUICK)
    assert (await pull(store, "app:1")).tags == ("app:1",)


async def test_plain_http_beyond_loopback_is_spoken_only_where_configured(
    tmp_path: Path, database: Database, outside: str
) -> None:
    with running_registry(tmp_path / "registry", address=outside) as registry:
        name = registry.push("app:1", TWO_LAYERS)
        store = await open_store(configured(tmp_path), database, QUICK)
        with pytest.raises(Unavailable, match="TLS"):
            await pull(store, name)
        entry = settings.Registry(registry.host, plain_http=True)
        store = await open_store(configured(tmp_path, entry), database, QUICK)
        assert (await pull(store, name)).id == TWO_LAYERS.id


async def test_a_certificate_is_checked_against_the_systems_trust_except_on_loopback(
    tmp_path: Path, database: Database, outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (outside, "127.0.0.1"):
        made = await asyncio.to_thread(make_certificate, tmp_path / address, address)
        store = await open_store(configured(tmp_path), database, QUICK)
        files = (made.certificate, made.key)
        with running_registry(tmp_path / f"registry-{address}", address=address, certificate=files) as registry:
            name = registry.push("app:1", TWO_LAYERS)
            if address == outside:
                with pytest.raises(Unavailable, match="certificate"):
                    await pull(store, name)
                monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
            assert (await pull(store, name)).id == TWO_LAYERS.id


async def test_a_registry_beyond_loopback_cannot_send_us_to_our_own_loopback(
    tmp_path: Path, database: Database, outside: str
) -> None:
    async with FakeRegistry(address=outside) as registry, FakeRegistry() as local:
        name = registry.put("app", "1", TWO_LAYERS)

        async def redirect(request: Request, writer: asyncio.StreamWriter) -> None:
            answer(writer, 307, b"", {"Location": f"http://{local.host}{request.path}"})

        registry.on("/v2/app/manifests/1", redirect)
        entry = settings.Registry(registry.host, plain_http=True)
        store = await open_store(configured(tmp_path, entry), database, QUICK)
        with pytest.raises(Unavailable, match="redirects to this machine"):
            await pull(store, name)
        assert local.requests == []


async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    store: ImageStore, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await pull(store, registry.push("proxied:1", TWO_LAYERS))).id == TWO_LAYERS.id
