# SPDX-License-Identifier: Apache-2.0
"""Registries that break off, stall, lie, or want what is not theirs."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hypercell.base.config import Config
from hypercell.base.db import Database
from hypercell.base.errors import HypercellError, InvalidArgument, NotFound, Unauthorized, Unavailable
from hypercell.images.contract import Credentials, Progress
from hypercell.images.registry.patience import Limits
from hypercell.images.store import ImageStore, open_store
from tests.images.fake_registry import FakeRegistry, Request, answer
from tests.support.images import OCI, Image, Index, compact, sha256, tar

IMAGE = Image([tar({"data": bytes(range(256)) * 2000})], compression="none")
BLOB = IMAGE.layer_blobs[0]
BLOB_PATH = f"/v2/app/blobs/{sha256(BLOB)}"
MANIFEST_PATH = "/v2/app/manifests/1"
USER = Credentials("me", "secret")


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


async def pull(store: ImageStore, name: str, credentials: Credentials | None = None, platform: str = "") -> Any:
    return await store.pull("default", name, platform, credentials, lambda _: None)


def nothing_is_left(tmp_path: Path) -> bool:
    """No image content in the store, and nothing half-written."""
    images = tmp_path / "images"
    return not any((images / "tmp").iterdir()) and not any((images / "chains").iterdir())


async def test_a_download_that_breaks_off_is_resumed_where_it_stopped(
    store: ImageStore, registry: FakeRegistry
) -> None:
    name = registry.put("app", "1", IMAGE)

    async def cut(request: Request, writer: asyncio.StreamWriter) -> None:
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        end = min(start + 100_000, len(BLOB))
        headers = {"Content-Length": str(len(BLOB) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"
        answer(writer, 206 if start else 200, BLOB[start:end], headers)

    registry.on(BLOB_PATH, cut)
    image = await pull(store, name)
    assert image.id == IMAGE.id
    starts = [request.headers.get("range", "bytes=0-") for request in registry.asked(BLOB_PATH)]
    assert starts == [f"bytes={start}-" for start in range(0, len(BLOB), 100_000)]


async def test_a_registry_that_ignores_ranges_is_read_from_the_start_again(
    store: ImageStore, registry: FakeRegistry
) -> None:
    name = registry.put("app", "1", IMAGE)
    cut_once = iter([len(BLOB) // 2])

    async def deaf(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 200, BLOB[: next(cut_once, len(BLOB))], {"Content-Length": str(len(BLOB))})

    registry.on(BLOB_PATH, deaf)
    assert (await pull(store, name)).id == IMAGE.id


@pytest.mark.parametrize("content_range", ["bytes 0-9/10", "bytes 7-8/{size}", "nonsense", ""])
async def test_a_wrong_content_range_is_not_believed(
    store: ImageStore, registry: FakeRegistry, content_range: str
) -> None:
    name = registry.put("app", "1", IMAGE)

    async def lie(request: Request, writer: asyncio.StreamWriter) -> None:
        if "range" in request.headers:
            answer(writer, 206, b"x" * 10, {"Content-Range": content_range.format(size=len(BLOB))})
        else:
            answer(writer, 200, BLOB[:1000], {"Content-Length": str(len(BLOB))})

    registry.on(BLOB_PATH, lie)
    with pytest.raises(Unavailable, match="broke"):
        await pull(store, name)


async def test_a_stalled_registry_is_given_up_with_a_clear_message(
    store: ImageStore, registry: FakeRegistry, tmp_path: Path
) -> None:
    name = registry.put("app", "1", IMAGE)

    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 200, BLOB[:1000], {"Content-Length": str(len(BLOB))})
        await writer.drain()
        await asyncio.sleep(30)

    registry.on(BLOB_PATH, stall)
    with pytest.raises(Unavailable, match=r"stalled: nothing came for 0\.3 seconds"):
        await pull(store, name)
    assert nothing_is_left(tmp_path)


async def test_a_registry_that_drips_is_too_slow(tmp_path: Path, database: Database, registry: FakeRegistry) -> None:
    limits = Limits(stall=5, answer=0.2, slowest=10**7)
    store = await open_store(Config(root=tmp_path, reserve_bytes=0), database, limits)
    name = registry.put("app", "1", IMAGE)

    async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 200, b"", {"Content-Length": str(len(BLOB))})
        for byte in BLOB:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    registry.on(BLOB_PATH, drip)
    with pytest.raises(Unavailable, match="too slow"):
        await pull(store, name)


async def test_a_stall_before_the_headers_counts_too(store: ImageStore, registry: FakeRegistry) -> None:
    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    name = registry.put("app", "1", IMAGE)
    registry.on(MANIFEST_PATH, stall)
    with pytest.raises(Unavailable, match="stalled"):
        await pull(store, name)


async def test_a_busy_registry_is_asked_again(store: ImageStore, registry: FakeRegistry) -> None:
    name = registry.put("app", "1", IMAGE)
    refusals = iter([503, 429, 500])

    async def busy(request: Request, writer: asyncio.StreamWriter) -> None:
        status = next(refusals, None)
        if status:
            answer(writer, status)
        else:
            await registry.usual(request, writer)

    registry.on(MANIFEST_PATH, busy)
    registry.on(BLOB_PATH, busy)
    assert (await pull(store, name)).id == IMAGE.id


async def test_a_registry_that_is_not_there_is_unavailable(store: ImageStore) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await pull(store, "127.0.0.1:1/app:1")


async def test_a_registry_that_no_host_is_called_is_not_asked_again(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def unknown(*_: object, **__: object) -> list[Any]:
        asked.append(1)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(Unavailable, match=r"registry nobody\.invalid cannot be reached"):
        await pull(store, "nobody.invalid/app:1")
    assert asked == [1]


async def test_a_cancelled_pull_leaves_nothing_half_written(
    store: ImageStore, registry: FakeRegistry, tmp_path: Path
) -> None:
    name = registry.put("app", "1", IMAGE)
    reached = asyncio.Event()

    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 200, BLOB[:1000], {"Content-Length": str(len(BLOB))})
        await writer.drain()
        reached.set()
        await asyncio.sleep(30)

    registry.on(BLOB_PATH, stall)
    task = asyncio.ensure_future(pull(store, name))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("path", [MANIFEST_PATH, BLOB_PATH, f"/v2/app/blobs/{IMAGE.id}"])
async def test_content_with_another_digest_is_refused(
    store: ImageStore, registry: FakeRegistry, path: str, tmp_path: Path
) -> None:
    registry.put("app", "1", IMAGE)
    name = f"{registry.host}/app@{sha256(IMAGE.manifest)}"
    path = path if "blobs" in path else f"/v2/app/manifests/{sha256(IMAGE.manifest)}"
    body, kind = registry.documents[path]
    registry.documents[path] = body.replace(b"2024", b"2025") if b"2024" in body else body[:-1] + b" ", kind
    if path == f"/v2/app/manifests/{sha256(IMAGE.manifest)}":
        registry.documents[path] = compact({**json.loads(body), "annotations": {"a": "b"}}), kind
    with pytest.raises(InvalidArgument, match="digest"):
        await pull(store, name)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("length", ["", str(len(BLOB) + 5), str(len(BLOB) - 5)])
async def test_a_blob_of_another_size_than_its_descriptor_is_refused(
    store: ImageStore, registry: FakeRegistry, length: str
) -> None:
    name = registry.put("app", "1", IMAGE)

    async def lie(request: Request, writer: asyncio.StreamWriter) -> None:
        body = BLOB + b"12345"
        answer(writer, 200, body[: int(length or len(body))], {"Content-Length": length})

    registry.on(BLOB_PATH, lie)
    with pytest.raises(InvalidArgument, match=r"larger than|the registry"):
        await pull(store, name)


async def test_a_manifest_without_end_is_cut_off_at_4_mib(store: ImageStore, registry: FakeRegistry) -> None:
    name = registry.put("app", "1", IMAGE)
    sent = 0

    async def flood(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        answer(writer, 200, b"", {"Content-Length": str(100 * 1024**2), "Content-Type": IMAGE.media_type})
        for _ in range(100):
            writer.write(b" " * 1024**2)
            await writer.drain()
            sent += 1

    registry.on(MANIFEST_PATH, flood)
    with pytest.raises(InvalidArgument, match="larger than"):
        await pull(store, name)
    assert sent < 30


async def test_an_index_served_as_a_manifest_is_refused(store: ImageStore, registry: FakeRegistry) -> None:
    index = Index([IMAGE])
    name = registry.put("app", "1", index)
    registry.documents[MANIFEST_PATH] = index.manifest, IMAGE.media_type
    with pytest.raises(InvalidArgument, match="manifest"):
        await pull(store, name)


async def test_a_manifest_must_be_what_its_index_says(store: ImageStore, registry: FakeRegistry) -> None:
    entry = {"mediaType": IMAGE.media_type, "digest": sha256(IMAGE.manifest), "size": len(IMAGE.manifest) + 1}
    body = compact({"schemaVersion": 2, "manifests": [{**entry, "platform": IMAGE.platform}]})
    name = registry.put("app", "1", IMAGE)
    registry.documents[MANIFEST_PATH] = body, f"{OCI}.index.v1+json"
    with pytest.raises(InvalidArgument, match="index"):
        await pull(store, name)


async def test_indexes_that_nest_for_ever_are_refused(store: ImageStore, registry: FakeRegistry) -> None:
    document, kind = IMAGE.manifest, IMAGE.media_type
    for _ in range(5):
        entry = {"mediaType": kind, "digest": sha256(document), "size": len(document), "platform": IMAGE.platform}
        registry.documents[f"/v2/app/manifests/{sha256(document)}"] = document, kind
        document, kind = compact({"schemaVersion": 2, "manifests": [entry]}), f"{OCI}.index.v1+json"
    registry.put("app", "1", IMAGE)
    registry.documents[MANIFEST_PATH] = document, kind
    with pytest.raises(InvalidArgument, match="nested"):
        await pull(store, f"{registry.host}/app:1")


async def test_an_unknown_tag_is_not_found(store: ImageStore, registry: FakeRegistry) -> None:
    with pytest.raises(NotFound, match=rf"manifest for {registry.host}/app:nope not found"):
        await pull(store, f"{registry.host}/app:nope")


async def test_terminal_escapes_in_an_error_do_not_get_through(store: ImageStore, registry: FakeRegistry) -> None:
    async def refuse(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 404, compact({"errors": [{"code": "X", "message": "a\x1b[2Jb\r\nc" + "d" * 10_000}]}))

    registry.on("/v2/app/manifests/1", refuse)
    with pytest.raises(NotFound) as caught:
        await pull(store, f"{registry.host}/app:1")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


class Tokens:
    """The token server of a fake registry, and the lock on its doors."""

    def __init__(self, registry: FakeRegistry, path: str = "/token") -> None:
        self.registry = registry
        self.issued = 0
        self.valid: set[str] = set()
        self.answer: dict[str, Any] = {}
        self.require = "Basic " + base64.b64encode(b"me:secret").decode()
        registry.on(path, self.issue)
        for document in list(registry.documents):
            registry.on(document, self.guard)

    async def issue(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if self.require and request.headers.get("authorization") != self.require:
            return answer(writer, 401, b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}')
        self.issued += 1
        token = f"token-{self.issued}"
        self.valid.add(token)
        return answer(writer, 200, compact({"token": token, "expires_in": 300, **self.answer}))

    async def guard(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("authorization", "").removeprefix("Bearer ") in self.valid:
            return await self.registry.usual(request, writer)
        challenge = f'Bearer realm="http://{self.registry.host}/token",service="here",scope="repository:app:pull"'
        return answer(writer, 401, b"", {"WWW-Authenticate": challenge})


async def test_one_token_serves_a_whole_pull(store: ImageStore, registry: FakeRegistry) -> None:
    name = registry.put("app", "1", IMAGE)
    tokens = Tokens(registry)
    assert (await pull(store, name, USER)).id == IMAGE.id
    assert tokens.issued == 1
    assert "service=here&scope=repository%3Aapp%3Apull&account=me" in registry.asked("/token")[0].query


async def test_a_token_that_is_revoked_half_way_is_renewed(store: ImageStore, registry: FakeRegistry) -> None:
    name = registry.put("app", "1", IMAGE)
    tokens = Tokens(registry)

    async def revoke(request: Request, writer: asyncio.StreamWriter) -> None:
        tokens.valid.discard("token-1")
        await tokens.guard(request, writer)

    registry.on(BLOB_PATH, revoke)
    assert (await pull(store, name, USER)).id == IMAGE.id
    assert tokens.issued == 2


async def test_an_identity_token_is_traded_for_an_access_token(store: ImageStore, registry: FakeRegistry) -> None:
    name = registry.put("app", "1", IMAGE)
    tokens = Tokens(registry)
    tokens.require = ""
    await pull(store, name, Credentials(identity_token="refresh-me"))
    request = registry.asked("/token")[0]
    assert request.method == "POST"
    assert b"grant_type=refresh_token" in request.body
    assert b"refresh_token=refresh-me" in request.body
    assert "authorization" not in request.headers


async def test_a_registry_token_is_shown_as_it_is(store: ImageStore, registry: FakeRegistry) -> None:
    name = registry.put("app", "1", IMAGE)
    tokens = Tokens(registry)
    tokens.valid.add("mine")
    await pull(store, name, Credentials(registry_token="mine"))
    assert tokens.issued == 0


@pytest.mark.parametrize("credentials", [None, Credentials("me", "wrong")])
async def test_wrong_or_missing_credentials_are_unauthorized(
    store: ImageStore, registry: FakeRegistry, credentials: Credentials | None
) -> None:
    name = registry.put("app", "1", IMAGE)
    Tokens(registry)
    with pytest.raises(Unauthorized, match="unauthorized: wrong password"):
        await pull(store, name, credentials)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"token":1}', b'{"token":"a b"}', b'{"token":"a\\nb"}', b"x" * 2_000_000]
)
async def test_a_token_server_that_answers_nonsense_is_refused(
    store: ImageStore, registry: FakeRegistry, body: bytes
) -> None:
    name = registry.put("app", "1", IMAGE)
    Tokens(registry)

    async def nonsense(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 200, body)

    registry.on("/token", nonsense)
    with pytest.raises((Unauthorized, InvalidArgument)):
        await pull(store, name, USER)


@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Bearer realm="ftp://x/"', 'Bearer realm="/token"', "Bearer"])
async def test_a_challenge_that_cannot_be_met_is_unauthorized(
    store: ImageStore, registry: FakeRegistry, challenge: str
) -> None:
    async def refuse(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 401, b"", {"WWW-Authenticate": challenge})

    name = registry.put("app", "1", IMAGE)
    registry.on(MANIFEST_PATH, refuse)
    with pytest.raises(Unauthorized):
        await pull(store, name, USER)


async def test_basic_authentication_works_and_is_not_repeated_when_refused(
    store: ImageStore, registry: FakeRegistry
) -> None:
    name = registry.put("app", "1", IMAGE)

    async def basic(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("authorization") == "Basic bWU6c2VjcmV0":
            await registry.usual(request, writer)
        else:
            answer(writer, 401, b"", {"WWW-Authenticate": 'Basic realm="here"'})

    for path in list(registry.documents):
        registry.on(path, basic)
    assert (await pull(store, name, USER)).id == IMAGE.id
    registry.requests.clear()
    with pytest.raises(Unauthorized):
        await pull(store, name, Credentials("me", "wrong"))
    assert len(registry.requests) == 2


async def test_no_secret_follows_a_redirect_to_another_host(store: ImageStore, registry: FakeRegistry) -> None:
    name = registry.put("app", "1", IMAGE)
    tokens = Tokens(registry)
    async with FakeRegistry() as elsewhere:
        elsewhere.put("app", "1", IMAGE)

        async def redirect(request: Request, writer: asyncio.StreamWriter) -> None:
            answer(writer, 307, b"", {"Location": f"http://{elsewhere.host}{request.path}"})

        registry.on(BLOB_PATH, redirect)
        assert (await pull(store, name, USER)).id == IMAGE.id
        assert tokens.issued == 1
        assert elsewhere.asked(BLOB_PATH)
        assert all("authorization" not in request.headers for request in elsewhere.requests)


async def test_a_redirect_target_that_asks_for_credentials_gets_none(store: ImageStore, registry: FakeRegistry) -> None:
    name = registry.put("app", "1", IMAGE)
    Tokens(registry)
    async with FakeRegistry() as elsewhere:

        async def greedy(request: Request, writer: asyncio.StreamWriter) -> None:
            challenge = f'Bearer realm="http://{elsewhere.host}/token",service="x"'
            answer(writer, 401, b"", {"WWW-Authenticate": challenge})

        async def redirect(request: Request, writer: asyncio.StreamWriter) -> None:
            answer(writer, 307, b"", {"Location": f"http://{elsewhere.host}{request.path}"})

        elsewhere.on(BLOB_PATH, greedy)
        registry.on(BLOB_PATH, redirect)
        with pytest.raises(Unauthorized):
            await pull(store, name, USER)
        assert not elsewhere.asked("/token")
        assert all("authorization" not in request.headers for request in elsewhere.requests)


async def test_a_foreign_layer_is_fetched_without_a_secret_and_its_challenge_not_met(
    store: ImageStore, registry: FakeRegistry
) -> None:
    async with FakeRegistry() as elsewhere:
        values = json.loads(IMAGE.manifest)
        values["layers"][0]["mediaType"] = f"{OCI}.layer.nondistributable.v1.tar"
        values["layers"][0]["urls"] = [f"http://{elsewhere.host}/layer"]
        image = Image(IMAGE.layers, compression="none", manifest_extra={"layers": values["layers"]})
        name = registry.put("app", "1", image)
        Tokens(registry)

        async def greedy(request: Request, writer: asyncio.StreamWriter) -> None:
            challenge = f'Bearer realm="http://{elsewhere.host}/token",service="x"'
            answer(writer, 401, b"", {"WWW-Authenticate": challenge})

        elsewhere.on("/layer", greedy)
        with pytest.raises(Unauthorized):
            await pull(store, name, USER)
        assert not elsewhere.asked("/token")
        assert all("authorization" not in request.headers for request in elsewhere.requests)

        del elsewhere.handlers["/layer"]
        elsewhere.documents["/layer"] = BLOB, "application/octet-stream"
        assert (await pull(store, name, USER)).id == IMAGE.id


@pytest.mark.parametrize("location", ["file:///etc/passwd", "", "//", "ftp://127.0.0.1/x", "http://"])
async def test_a_redirect_to_something_else_than_http_is_refused(
    store: ImageStore, registry: FakeRegistry, location: str
) -> None:
    name = registry.put("app", "1", IMAGE)

    async def redirect(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 302, b"", {"Location": location})

    registry.on(MANIFEST_PATH, redirect)
    with pytest.raises(HypercellError):
        await pull(store, name)


async def test_redirects_in_a_circle_end(store: ImageStore, registry: FakeRegistry) -> None:
    async def redirect(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, 302, b"", {"Location": request.path})

    registry.on(MANIFEST_PATH, redirect)
    with pytest.raises(Unavailable, match="redirects for ever"):
        await pull(store, f"{registry.host}/app:1")
    assert len(registry.requests) < 10


async def test_layers_of_one_image_are_downloaded_three_at_a_time(store: ImageStore, registry: FakeRegistry) -> None:
    image = Image([tar({f"file{number}": b"x" * 100}) for number in range(7)])
    name = registry.put("app", "1", image)
    now = most = 0

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        await registry.usual(request, writer)
        now -= 1

    for blob in image.layer_blobs:
        registry.on(f"/v2/app/blobs/{sha256(blob)}", slow)
    seen: list[Progress] = []
    await store.pull("default", name, "", None, seen.append)
    assert most == 3
    assert "Waiting" in {item.status for item in seen}
