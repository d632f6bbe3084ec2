# SPDX-License-Identifier: Apache-2.0
"""Pulls through the Engine API from a real registry on loopback: progress in docker's words, errors in their place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.daemon import Daemon, running
from tests.support.images import busybox
from tests.support.registry import Registry, running_registry

from .conftest import Client, connect


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as started:
        started.push("busybox:latest", busybox())
        yield started


@pytest.fixture(scope="module")
def door(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    settings = {"driver": "fake", "registries": [{"host": registry.host, "plain_http": True}]}
    with running(tmp_path_factory.mktemp("pull") / "d", **settings) as daemon:
        yield daemon


@pytest.fixture
async def client(door: Daemon) -> AsyncIterator[Client]:
    connection = await connect(door.socket)
    yield connection
    await connection.close()


async def test_a_pull_is_told_in_dockers_words(registry: Registry, client: Client) -> None:
    name = f"{registry.host}/busybox"
    path = f"/v1.51/images/create?fromImage={name}&tag=latest"
    _, lines = await client.ask("POST", path)
    assert (lines[0]["status"], lines[0]["id"]) == (f"Pulling from {name}", "latest")
    words = [line["status"] for line in lines]
    assert {"Pulling fs layer", "Download complete", "Pull complete"} <= set(words)
    assert words[-2].startswith("Digest: sha256:")
    assert words[-1] == f"Status: Downloaded newer image for {name}:latest"
    assert all("progressDetail" in line for line in lines[1:] if "id" in line)
    _, again = await client.ask("POST", path)
    assert again[-1]["status"] == f"Status: Image is up to date for {name}:latest"
    _, image = await client.ask("GET", f"/images/{name}/json")
    assert image["RepoTags"] == [f"{name}:latest"]
    assert image["RepoDigests"][0].startswith(f"{name}@sha256:")
    digest = image["RepoDigests"][0].partition("@")[2]
    _, by_digest = await client.ask("POST", f"/images/create?fromImage={name}&tag={digest}")
    assert "Digest:" in json.dumps(by_digest)


async def test_the_docker_cli_pulls_and_runs(registry: Registry, door: Daemon) -> None:
    name = f"{registry.host}/busybox"
    said = await asyncio.to_thread(door.docker, "run", "--rm", "--pull", "always", name, "echo", "hi")
    assert said.stdout.splitlines()[-1] == "hi"
    assert "Digest: sha256:" in said.stdout + said.stderr


async def test_the_docker_cli_pulls_all_tags(registry: Registry, door: Daemon, client: Client) -> None:
    for tag in ("1", "2"):
        registry.push(f"several:{tag}", busybox())
    name = f"{registry.host}/several"
    said = await asyncio.to_thread(door.docker, "pull", "--all-tags", name)
    assert f"1: Pulling from {name}" in said.stdout and f"2: Pulling from {name}" in said.stdout
    assert f"Status: Downloaded newer image for {name}" in said.stdout
    _, image = await client.ask("GET", f"/images/{name}:2/json")
    assert {f"{name}:1", f"{name}:2"} <= set(image["RepoTags"])


@pytest.mark.parametrize("what", ["busybox:nosuchtag", "nosuchrepository:latest"])
async def test_what_the_registry_does_not_have_is_not_found(registry: Registry, client: Client, what: str) -> None:
    name, _, tag = what.partition(":")
    status, answer = await client.ask("POST", f"/images/create?fromImage={registry.host}/{name}&tag={tag}")
    lines = answer if isinstance(answer, list) else [answer]
    assert status == 404 or "error" in lines[-1]
    assert "not found" in json.dumps(lines[-1]).lower()


async def test_a_client_that_leaves_ends_its_pull(registry: Registry, client: Client, door: Daemon) -> None:
    leaver = await connect(door.socket)
    await leaver.send(
        f"POST /images/create?fromImage={registry.host}/busybox&tag=latest HTTP/1.1\r\n"
        "Host: x\r\nContent-Length: 0\r\n\r\n".encode()
    )
    await leaver.close()
    assert await client.ask("GET", "/_ping") == (200, b"OK")
