# SPDX-License-Identifier: Apache-2.0
"""A registry elsewhere does not make us ask the services of this machine: by a redirect, by the URL of a layer, or by
naming one of them as its token server (A11 of docs/security.md)."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from hypercell.base import config as settings
from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import HypercellError, Unauthorized, Unavailable
from hypercell.images.contract import Credentials
from hypercell.images.registry.endpoints import leads_here
from hypercell.images.store import open_store
from tests.images.conftest import QUICK
from tests.images.fake_registry import FakeRegistry, Request, answer
from tests.images.test_archives import docker_archive, load
from tests.support.images import OCI, Image, tar

OUTSIDE = "203.0.113.21"
IMAGE = Image([tar({"data": b"x"})], compression="none")
HERE = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0", "a@127.0.0.1", "x:y@127.1", "LOCALHOST."]


@pytest.fixture
def outside() -> str:
    """An address that is no loopback, in the test's own network."""
    subprocess.run(["ip", "addr", "replace", f"{OUTSIDE}/32", "dev", "lo"], check=True)
    return OUTSIDE


async def pulled(tmp_path: Path, database: Database, registry: FakeRegistry, name: str) -> None:
    entry = settings.Registry(registry.host, plain_http=True)
    store = await open_store(Config(root=tmp_path, reserve_bytes=0, registries=(entry,)), database, QUICK)
    await store.pull("default", name, "", Credentials("me", "secret"), lambda _: None)


@pytest.mark.parametrize("here", HERE)
async def test_a_redirect_to_this_machine_is_refused(
    tmp_path: Path, database: Database, outside: str, here: str
) -> None:
    async with FakeRegistry(address=outside) as registry, FakeRegistry() as local:
        name = registry.put("app", "1", IMAGE)

        async def redirect(request: Request, writer: asyncio.StreamWriter) -> None:
            answer(writer, 307, b"", {"Location": f"http://{here}:{local.port}{request.path}"})

        registry.on("/v2/app/manifests/1", redirect)
        with pytest.raises(Unavailable, match="this machine"):
            await pulled(tmp_path, database, registry, name)
        assert local.requests == []


@pytest.mark.parametrize("here", ["127.0.0.1", "127.1"])
async def test_a_token_server_on_this_machine_is_not_asked(
    tmp_path: Path, database: Database, outside: str, here: str
) -> None:
    async with FakeRegistry(address=outside) as registry, FakeRegistry() as local:
        name = registry.put("app", "1", IMAGE)

        async def challenge(request: Request, writer: asyncio.StreamWriter) -> None:
            realm = f"http://{here}:{local.port}/token"
            answer(writer, 401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'})

        registry.on("/v2/app/manifests/1", challenge)
        with pytest.raises(Unauthorized, match="this machine"):
            await pulled(tmp_path, database, registry, name)
        assert local.requests == []


async def test_a_layer_on_this_machine_is_not_fetched(tmp_path: Path, database: Database, outside: str) -> None:
    async with FakeRegistry(address=outside) as registry, FakeRegistry() as local:
        layers = json.loads(IMAGE.manifest)["layers"]
        layers[0]["mediaType"] = f"{OCI}.layer.nondistributable.v1.tar"
        layers[0]["urls"] = [f"http://127.1:{local.port}/layer"]
        name = registry.put("app", "1", Image(IMAGE.layers, compression="none", manifest_extra={"layers": layers}))
        with pytest.raises(HypercellError):
            await pulled(tmp_path, database, registry, name)
        assert local.requests == []


@pytest.mark.parametrize("here", ["127.0.0.1", "127.1", "localhost"])
async def test_an_upload_to_this_machine_is_not_made(
    tmp_path: Path, database: Database, outside: str, here: str
) -> None:
    async with FakeRegistry(address=outside) as registry, FakeRegistry() as local:
        name = f"{registry.host}/app:1"

        async def lead(request: Request, writer: asyncio.StreamWriter) -> None:
            answer(writer, 202, b"", {"Location": f"http://{here}:{local.port}/upload"})

        registry.on("/v2/app/blobs/uploads/", lead)
        entry = settings.Registry(registry.host, plain_http=True)
        store = await open_store(Config(root=tmp_path, reserve_bytes=0, registries=(entry,)), database, QUICK)
        await load(store, tar(docker_archive(IMAGE, [name])))
        with pytest.raises(Unavailable, match="this machine"):
            await store.push("default", name, Credentials("me", "secret"), lambda _: None)
        assert local.requests == []


@pytest.mark.parametrize("name", ["::1", "::", "::ffff:127.0.0.1", "::ffff:0:0", "127.255.255.254", "a.localhost"])
def test_every_spelling_of_this_machine_is_known(name: str) -> None:
    assert leads_here(name)


@pytest.mark.parametrize("name", ["registry.test", "10.0.0.1", "localhost.evil.test", "::2", "1270.0.0.1", "", "%"])
def test_other_machines_are_not_taken_for_this_one(name: str) -> None:
    assert not leads_here(name)
