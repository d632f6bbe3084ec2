# SPDX-License-Identifier: Apache-2.0
"""Pushes, logins and questions to registries through the Engine API, at real registries on loopback: progress in
docker's words, digests that stay, errors in their place, and docker's own client."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hypercell.images import digests
from tests.support.daemon import Daemon, running
from tests.support.images import Image, Index, sha256, tar
from tests.support.registry import Registry, running_registry

from .conftest import Client, connect
from .door import root_tar

USER, PASSWORD = "me", "open sesame"
SHADOW = "me:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"
LOWER, UPPER = tar({"lower": b"1" * 5000}), tar({"upper": b"2" * 5000})


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Lets in nobody but `USER`."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "htpasswd").write_text(SHADOW)
    basic = {"htpasswd": {"realm": "here", "path": str(directory / "htpasswd")}}
    with running_registry(directory, auth=basic) as started:
        yield started


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("push") / "d", driver="fake") as daemon:
        yield daemon


@pytest.fixture
async def client(door: Daemon) -> AsyncIterator[Client]:
    connection = await connect(door.socket)
    yield connection
    await connection.close()


def header(username: str = USER, password: str = PASSWORD) -> dict[str, str]:
    document = json.dumps({"username": username, "password": password}).encode()
    return {"X-Registry-Auth": base64.urlsafe_b64encode(document).decode()}


async def pull(client: Client, registry: Registry, image: Image | Index, repository: str) -> str:
    """Have *image* in the registry and here; its full repository name."""
    name = registry.push(f"{repository}:1", image)
    _, lines = await client.ask("POST", f"/images/create?fromImage={name}")
    assert "error" not in lines[-1], lines
    return name.rpartition(":")[0]


async def tag(client: Client, source: str, repository: str, word: str = "1") -> None:
    status, answer = await client.ask("POST", f"/images/{source}/tag?repo={repository}&tag={word}")
    assert status == 201, answer


async def push(client: Client, repository: str, word: str = "1", **options: Any) -> list[dict[str, Any]]:
    status, lines = await client.ask("POST", f"/images/{repository}/push?tag={word}", **options)
    assert status == 200, lines
    assert isinstance(lines, list)
    return lines


def manifest(registry: Registry, repository: str, word: str = "1") -> tuple[str, bytes]:
    """(media type, document) as the registry has it."""
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    status, headers, body = registry.request("GET", f"/v2/{repository}/manifests/{word}", headers={"Accept": accept})
    assert status == 200, body
    return headers["content-type"], body


# Pushing


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compression", ["gzip", "none"])
async def test_what_was_pulled_is_pushed_as_it_was(
    registry: Registry, client: Client, docker: bool, compression: str
) -> None:
    kind = f"{'docker' if docker else 'oci'}-{compression}"
    image = Image([LOWER, UPPER], {"Labels": {"kind": kind}}, docker=docker, compression=compression)
    mine = await pull(client, registry, image, f"from/{kind}")
    target = f"to/{kind}"
    await tag(client, f"{mine}:1", f"{registry.host}/{target}")
    lines = await push(client, f"{registry.host}/{target}")
    digest = sha256(image.manifest)
    assert lines[-1] == {"progressDetail": {}, "aux": {"Tag": "1", "Digest": digest, "Size": len(image.manifest)}}
    assert lines[-2] == {"status": f"1: digest: {digest} size: {len(image.manifest)}"}
    assert manifest(registry, target) == (image.media_type, image.manifest)
    _, seen = await client.ask("GET", f"/images/{registry.host}/{target}:1/json")
    assert f"{registry.host}/{target}@{digest}" in seen["RepoDigests"]


async def test_a_push_is_told_in_dockers_words(registry: Registry, client: Client) -> None:
    layers = [tar({"lower": b"words"}), tar({"upper": b"words" * 5000})]
    image = Image(layers)
    await load(client, image)
    name = f"{registry.host}/words"
    await tag(client, image.id, name)
    lines = await push(client, name)
    shown = [digests.of(layer).removeprefix("sha256:")[:12] for layer in reversed(layers)]
    assert lines[0] == {"status": f"The push refers to repository [{name}]"}
    assert lines[1:3] == [{"status": "Preparing", "progressDetail": {}, "id": layer} for layer in shown]
    assert {"status": "Pushed", "progressDetail": {}, "id": shown[0]} in lines
    figures = [line["progressDetail"] for line in lines if line.get("status") == "Pushing"]
    assert all(0 < detail["current"] <= detail["total"] for detail in figures)
    assert {detail["total"] for detail in figures} == {len(layer) for layer in layers}
    again = await push(client, name)
    assert [line["status"] for line in again if line.get("id") == shown[0]] == ["Preparing", "Layer already exists"]


async def load(client: Client, image: Image) -> None:
    """As a docker archive, layers uncompressed as dockerd saves them."""
    layers = {f"{number}.tar": layer for number, layer in enumerate(image.layers)}
    listing = [{"Config": "config.json", "RepoTags": None, "Layers": list(layers)}]
    archive = tar({"config.json": image.config, **layers, "manifest.json": json.dumps(listing).encode()})
    status, answer = await client.ask("POST", "/images/load", archive, {"X-Kind": "tar"})
    assert status == 200 and "error" not in json.dumps(answer), answer


@pytest.mark.parametrize("way", ["load", "import"])
async def test_what_came_without_a_manifest_comes_back_as_the_same_image(
    registry: Registry, client: Client, way: str
) -> None:
    name = f"{registry.host}/round/{way}"
    if way == "load":
        image = Image([LOWER, UPPER], {"Labels": {"way": way}})
        await load(client, image)
        await tag(client, image.id, name)
    else:
        path = f"/images/create?fromSrc=-&repo={name}&tag=1&changes=LABEL%20way=import"
        await client.ask("POST", path, root_tar(), {"X-Kind": "tar"})
    _, before = await client.ask("GET", f"/images/{name}:1/json")
    lines = await push(client, name)
    await client.ask("DELETE", f"/images/{before['Id']}?force=1")
    _, pulled = await client.ask("POST", f"/images/create?fromImage={name}&tag=1")
    assert pulled[-2]["status"] == f"Digest: {lines[-1]['aux']['Digest']}"
    _, after = await client.ask("GET", f"/images/{name}:1/json")
    assert (after["Id"], after["RootFS"]) == (before["Id"], before["RootFS"])


async def test_all_tags_of_a_repository_are_pushed_when_none_is_named(registry: Registry, client: Client) -> None:
    one, two = (Image([LOWER], {"Labels": {"all": word}}) for word in ("one", "two"))
    name = f"{registry.host}/all"
    for image, word in ((one, "a"), (two, "b"), (one, "c")):
        await load(client, image)
        await tag(client, image.id, name, word)
    lines = await push(client, name, "")
    assert [line["aux"]["Tag"] for line in lines if "aux" in line] == ["a", "b", "c"]
    _, _, body = registry.request("GET", "/v2/all/tags/list")
    assert sorted(json.loads(body)["tags"]) == ["a", "b", "c"]


async def test_a_layer_is_mounted_from_the_repository_that_it_came_from(registry: Registry, client: Client) -> None:
    image = Image([tar({"mounted": b"3" * 9000})])
    mine = await pull(client, registry, image, "mount/source")
    await tag(client, f"{mine}:1", f"{registry.host}/mount/target")
    lines = await push(client, f"{registry.host}/mount/target")
    assert "Mounted from mount/source" in [line.get("status") for line in lines]
    assert manifest(registry, "mount/target")[1] == image.manifest
    gone = Image([tar({"gone": b"4" * 9000})])
    mine = await pull(client, registry, gone, "mount/gone")
    for digest in gone.blobs:
        assert registry.request("DELETE", f"/v2/mount/gone/blobs/{digest}")[0] == 202
    await tag(client, f"{mine}:1", f"{registry.host}/mount/again")
    lines = await push(client, f"{registry.host}/mount/again")
    assert "Pushed" in [line.get("status") for line in lines]
    assert manifest(registry, "mount/again")[1] == gone.manifest


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("nosuch/image", "1", "An image does not exist locally with the tag: {host}/nosuch/image"),
        ("known", "nosuch", "tag does not exist: {host}/known:nosuch"),
        (f"known@sha256:{'0' * 64}", "", "cannot push a digest reference"),
    ],
)
async def test_what_is_not_here_is_not_pushed(
    registry: Registry, client: Client, name: str, word: str, said: str
) -> None:
    image = Image([LOWER], {"Labels": {"known": "yes"}})
    await load(client, image)
    await tag(client, image.id, f"{registry.host}/known")
    lines = await push(client, f"{registry.host}/{name}", word)
    assert lines[0]["status"].startswith("The push refers to repository [")
    message = lines[-1]["errorDetail"]["message"]
    assert message == lines[-1]["error"]
    assert message.startswith(said.format(host=registry.host))


async def test_a_name_that_is_none_is_refused_at_once(client: Client) -> None:
    assert (await client.ask("POST", "/images/UPPER/push?tag=1"))[0] == 400
    assert (await client.ask("POST", "/images/x/push?tag=a%20b"))[0] == 400
    status, _ = await client.ask("POST", "/images/x/push", headers={"X-Registry-Auth": "%"})
    assert status == 400


async def test_an_image_of_another_platform_than_the_wanted_is_not_pushed(registry: Registry, client: Client) -> None:
    image = Image([LOWER], {"Labels": {"platform": "one"}})
    await load(client, image)
    await tag(client, image.id, f"{registry.host}/platform")
    path = f"/images/{registry.host}/platform/push?tag=1&platform="
    status, answer = await client.ask("POST", path + '%7B"os":"linux","architecture":"s390x"%7D')
    assert status == 404 and "does not provide the specified platform (linux/s390x)" in answer["message"]
    status, lines = await client.ask("POST", path + '%7B"os":"linux","architecture":"amd64"%7D')
    assert status == 200 and "aux" in lines[-1]


async def test_a_push_that_its_client_leaves_stays_nowhere(registry: Registry, client: Client, door: Daemon) -> None:
    image = Image([tar({"big": bytes(32 << 20)})])
    await load(client, image)
    leaver, other = await connect(door.socket), await connect(door.socket)
    await tag(other, image.id, f"{registry.host}/left")
    await leaver.send(
        f"POST /images/{registry.host}/left/push?tag=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
    )
    uploads = registry.directory / "storage/docker/registry/v2/repositories/left/_uploads"
    await asyncio.to_thread(until, lambda: any(path.stat().st_size for path in uploads.glob("*/data")))
    registry.hold()
    await leaver.close()
    # Others are served while the push is still being taken back.
    assert await other.ask("GET", "/_ping") == (200, b"OK")
    registry.go_on()
    await asyncio.to_thread(until, lambda: not any(uploads.glob("*/data")))
    assert registry.request("GET", "/v2/left/manifests/1")[0] == 404
    assert (await push(other, f"{registry.host}/left"))[-1]["aux"]["Tag"] == "1"
    await other.close()


def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# Credentials


async def test_a_push_with_the_wrong_credentials_or_none_is_refused_in_the_stream(
    guarded: Registry, client: Client
) -> None:
    image = Image([LOWER], {"Labels": {"guarded": "yes"}})
    await load(client, image)
    name = f"{guarded.host}/guarded"
    await tag(client, image.id, name)
    lines = await push(client, name)
    assert lines[-1]["error"].startswith("no basic auth credentials")
    lines = await push(client, name, headers=header(password="wrong"))
    assert lines[-1]["error"].startswith("unauthorized: authentication required")
    lines = await push(client, name, headers=header())
    assert lines[-1]["aux"]["Tag"] == "1"
    await client.ask("DELETE", f"/images/{image.id}?force=1")
    _, pulled = await client.ask("POST", f"/images/create?fromImage={name}&tag=1", headers=header())
    assert pulled[-2]["status"] == f"Digest: {lines[-1]['aux']['Digest']}"


async def test_a_login_is_checked_by_the_registry(guarded: Registry, registry: Registry, client: Client) -> None:
    credentials = {"username": USER, "password": PASSWORD, "serveraddress": guarded.host}
    granted = (200, {"Status": "Login Succeeded", "IdentityToken": ""})
    assert await client.ask("POST", "/auth", credentials) == granted
    assert await client.ask("POST", "/auth", {**credentials, "serveraddress": f"http://{guarded.host}/v1/"}) == granted
    # One that asks nobody who he is takes everybody, as with dockerd.
    assert await client.ask("POST", "/auth", {**credentials, "serveraddress": registry.host}) == granted
    status, answer = await client.ask("POST", "/auth", {**credentials, "password": "wrong"})
    assert status == 401
    assert answer["message"] == f"login attempt to http://{guarded.host}/v2/ failed with status: 401 Unauthorized"
    assert (await client.ask("POST", "/auth", {**credentials, "serveraddress": "a b"}))[0] == 400
    assert (await client.ask("POST", "/auth", {**credentials, "serveraddress": "127.0.0.1:1"}))[0] == 503


# Questions


@pytest.mark.parametrize("docker", [False, True])
async def test_a_distribution_is_told_without_a_pull(registry: Registry, client: Client, docker: bool) -> None:
    image = Image([LOWER], docker=docker, architecture="arm64", variant="v8")
    index = Index([image, Image([LOWER], docker=docker)], docker=docker)
    for name, document, platforms in (
        (f"one-{docker}".lower(), image, [image.platform]),
        (f"many-{docker}".lower(), index, [part.platform for part in index.images]),
    ):
        full = registry.push(f"{name}:1", document)
        digest, size = sha256(document.manifest), len(document.manifest)
        told = {
            "Descriptor": {"mediaType": document.media_type, "digest": digest, "size": size},
            "Platforms": platforms,
        }
        assert await client.ask("GET", f"/distribution/{full}/json") == (200, told)
        by_digest = f"{full.rpartition(':')[0]}@{digest}"
        assert await client.ask("GET", f"/distribution/{by_digest}/json") == (200, told)
    status, answer = await client.ask("GET", f"/distribution/{registry.host}/nosuch:1/json")
    assert status == 404 and "not found" in answer["message"]
    assert (await client.ask("GET", f"/distribution/{'0' * 64}/json"))[0] == 404


async def test_a_distribution_behind_a_login_needs_it(guarded: Registry, client: Client) -> None:
    path = f"/distribution/{guarded.host}/nosuch:1/json"
    assert (await client.ask("GET", path))[0] == 401
    assert (await client.ask("GET", path, headers=header()))[0] == 404


async def test_a_registry_without_a_search_is_said_to_have_none(registry: Registry, client: Client) -> None:
    status, answer = await client.ask("GET", f"/images/search?term={registry.host}/box")
    assert (status, answer["message"]) == (
        500,
        f"Unexpected status code 404: the registry {registry.host} has no search",
    )


@pytest.mark.parametrize(
    "query",
    [
        "term=https://x.test/box",
        "term=a_b.c/box",
        "term=127.0.0.1:1/x&limit=101",
        "term=127.0.0.1:1/x&limit=-1",
        'term=127.0.0.1:1/x&filters=%7B"stars":["many"]%7D',
        'term=127.0.0.1:1/x&filters=%7B"colour":["red"]%7D',
    ],
)
async def test_a_search_that_makes_no_sense_is_refused(client: Client, query: str) -> None:
    status, answer = await client.ask("GET", f"/images/search?{query}")
    assert status == 400, answer


# docker's own client


@pytest.fixture
def docker_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where docker's client keeps its credentials."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def test_the_docker_cli_logs_in_pushes_and_logs_out(guarded: Registry, door: Daemon, docker_home: Path) -> None:
    name = f"{guarded.host}/cli:1"
    root = docker_home / "root.tar"
    root.write_bytes(root_tar())
    door.docker("import", str(root), name)
    refused = door.docker("push", name, check=False)
    assert refused.returncode == 1
    assert "no basic auth credentials" in refused.stderr
    wrong = door.docker("login", "-u", USER, "--password-stdin", guarded.host, input="wrong", check=False)
    assert wrong.returncode == 1
    assert "401 Unauthorized" in wrong.stderr
    said = door.docker("login", "-u", USER, "--password-stdin", guarded.host, input=PASSWORD)
    assert "Login Succeeded" in said.stdout
    assert json.loads((docker_home / "config.json").read_text())["auths"][guarded.host]["auth"]
    pushed = door.docker("push", name).stdout.splitlines()
    assert pushed[0] == f"The push refers to repository [{guarded.host}/cli]"
    assert pushed[-1].startswith("1: digest: sha256:")
    digest = pushed[-1].split()[2]
    door.docker("rmi", "-f", name)
    assert f"Digest: {digest}" in door.docker("pull", name).stdout
    door.docker("logout", guarded.host)
    assert door.docker("push", name, check=False).returncode == 1


def test_the_docker_cli_is_told_that_there_is_no_search(registry: Registry, door: Daemon) -> None:
    refused = door.docker("search", f"{registry.host}/box", check=False)
    assert refused.returncode == 1
    assert "Unexpected status code 404" in refused.stderr


# Our own


def test_our_command_shares_its_credentials_with_dockers(guarded: Registry, door: Daemon, docker_home: Path) -> None:
    name = f"{guarded.host}/ours:1"
    root = docker_home / "root.tar"
    root.write_bytes(root_tar())
    door.hypercell("import", str(root), name)
    refused = door.hypercell("push", name, check=False)
    assert refused.returncode == 1
    assert "no basic auth credentials" in refused.stderr
    login = ("login", "-u", USER, "--password-stdin", guarded.host)
    wrong = door.hypercell(*login, input="wrong", check=False)
    assert wrong.returncode == 1
    assert not (docker_home / "config.json").exists()
    said = door.hypercell(*login, input=f"{PASSWORD}\n")
    assert said.stdout == "Login Succeeded\n"
    pushed = door.hypercell("push", name).stdout.splitlines()
    assert pushed[0] == f"The push refers to repository [{guarded.host}/ours]"
    assert pushed[-1].startswith("1: digest: sha256:")
    assert door.docker("push", name).stdout.splitlines()[-1] == pushed[-1]
    door.hypercell("rmi", "-f", name)
    assert f"Digest: {pushed[-1].split()[2]}" in door.hypercell("pull", name).stdout
    assert door.hypercell("login", guarded.host).stdout.splitlines()[-1] == "Login Succeeded"
    assert door.hypercell("logout", guarded.host).stdout == f"Removing login credentials for {guarded.host}\n"
    assert json.loads((docker_home / "config.json").read_text())["auths"] == {}
    assert door.hypercell("logout", guarded.host).stdout == f"Not logged in to {guarded.host}\n"
    assert door.hypercell("push", name, check=False).returncode == 1
