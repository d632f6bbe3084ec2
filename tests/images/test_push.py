# SPDX-License-Identifier: Apache-2.0
"""Pushes and questions to registries that misbehave: bounded, with an error that says what is wrong, and no secret
goes anywhere but to the registry and the token server that it names."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from hypercell.base.config import Config
from hypercell.base.errors import Forbidden, HypercellError, InvalidArgument, NotFound, Unauthorized, Unavailable
from hypercell.images.contract import Credentials, Progress
from hypercell.images.registries import RegistryClient
from hypercell.images.registry.domains import domain_of
from hypercell.images.registry.search import split
from hypercell.images.store import ImageStore
from tests.images.conftest import QUICK
from tests.images.fake_registry import FakeRegistry, Request, answer
from tests.images.test_archives import docker_archive, load
from tests.support.images import Image, tar

IMAGE = Image([tar({"data": b"x" * 3000})], compression="none")
ME = Credentials("me", "secret")
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
UPLOADS = "/v2/app/blobs/uploads/"
MANIFEST = "/v2/app/manifests/1"


class Taker(FakeRegistry):
    """Takes pushes to `app`, and remembers the bytes of each upload. `broken` uploads are answered with 503."""

    broken = 0

    async def usual(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/v2/":
            return answer(writer)
        if request.method == "POST" and request.path == UPLOADS:
            return answer(writer, 202, b"", {"Location": f"/upload/{len(self.requests)}?state=a%2Fb"})
        if request.method == "PATCH" and self.broken:
            self.broken -= 1
            return answer(writer, 503)
        if request.method == "PATCH":
            return answer(writer, 202, b"", {"Location": f"{request.path}?state=c%2Fd"})
        if request.method == "PUT":
            return answer(writer, 201)
        return answer(writer, 404)


async def push(store: ImageStore, registry: FakeRegistry, credentials: Credentials | None = None) -> list[Progress]:
    name = f"{registry.host}/app:1"
    await load(store, tar(docker_archive(IMAGE, [name])))
    told: list[Progress] = []
    await store.push("default", name, credentials, told.append)
    return told


def refuse(status: int, body: bytes = b"", headers: dict[str, str] | None = None):
    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        answer(writer, status, body, headers)

    return handler


async def test_a_push_asks_commits_and_names_what_it_sends(store: ImageStore) -> None:
    async with Taker() as registry:
        told = await push(store, registry)
        sent = [request for request in registry.requests if request.method == "PATCH"]
        assert {request.body for request in sent} == {IMAGE.config, IMAGE.layers[0]}
        assert {request.headers["content-type"] for request in sent} == {"application/octet-stream"}
        committed = [parse_qs(request.query) for request in registry.requests if request.path.startswith("/upload/")]
        assert [query["digest"][0] for query in committed if "digest" in query] == [*reversed(IMAGE.blobs)]
        assert all(query["state"] == ["c/d"] for query in committed if "digest" in query)
        last = registry.requests[-1]
        assert (last.method, last.path) == ("PUT", MANIFEST)
        assert json.loads(last.body)["mediaType"] == last.headers["content-type"]
    assert told[-1].pushed is not None
    assert told[-1].pushed.size == len(last.body)


async def test_an_upload_that_breaks_off_is_taken_back_and_made_again(store: ImageStore) -> None:
    async with Taker() as registry:
        registry.broken = 2
        await push(store, registry)
        deleted = [request.path for request in registry.requests if request.method == "DELETE"]
    assert len(deleted) == 2 and all(path.startswith("/upload/") for path in deleted)


async def test_an_upload_that_never_works_is_given_up_and_taken_back(store: ImageStore) -> None:
    async with Taker() as registry:
        registry.broken = 1000
        with pytest.raises(Unavailable, match="answered 503"):
            await push(store, registry)
        methods = [request.method for request in registry.requests]
    assert methods.count("DELETE") == methods.count("PATCH") == QUICK.attempts
    assert registry.asked(MANIFEST) == []


async def test_a_push_that_is_called_off_takes_its_upload_back(store: ImageStore) -> None:
    async with Taker() as registry:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def begin(request: Request, writer: asyncio.StreamWriter) -> None:
            arrived.set()
            await go_on.wait()
            await registry.usual(request, writer)

        registry.on(UPLOADS, begin)
        pushing = asyncio.ensure_future(push(store, registry))
        await arrived.wait()
        pushing.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        begun = [request for request in registry.requests if request.path == UPLOADS]
        deleted = [request for request in registry.requests if request.method == "DELETE"]
        assert len(deleted) == len(begun) == 1
        assert not any(request.method == "PUT" for request in registry.requests)


@pytest.mark.parametrize(
    ("path", "status", "body", "kind", "said"),
    [
        (UPLOADS, 403, b'{"errors":[{"code":"DENIED","message":"no"}]}', Forbidden, "denied: no"),
        (UPLOADS, 404, b"", NotFound, "repository .*/app not found"),
        (UPLOADS, 200, b"", Unavailable, "answered 200"),
        (UPLOADS, 302, b"", Unavailable, "answered 302"),
        (MANIFEST, 400, b'{"errors":[{"code":"MANIFEST_INVALID"}]}', InvalidArgument, "manifest invalid"),
        (MANIFEST, 413, b"x" * 100_000, InvalidArgument, "larger than"),
        (MANIFEST, 507, b"\x1b[31m", Unavailable, "answered 507"),
        ("/v2/", 401, b"", Unauthorized, "not supported"),
    ],
)
async def test_a_refusal_is_told_for_what_it_is(
    store: ImageStore, path: str, status: int, body: bytes, kind: type[HypercellError], said: str
) -> None:
    async with Taker() as registry:
        registry.on(path, refuse(status, body))
        with pytest.raises(kind, match=said):
            await push(store, registry)


async def test_credentials_do_not_follow_an_upload_to_another_host(store: ImageStore) -> None:
    async with Taker() as registry, Taker(address="127.0.0.2") as elsewhere:
        asked = refuse(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

        async def guarded(request: Request, writer: asyncio.StreamWriter) -> None:
            if request.headers.get("authorization") != BASIC:
                return await asked(request, writer)
            return answer(writer)

        registry.on("/v2/", guarded)
        registry.on(UPLOADS, refuse(202, b"", {"Location": f"http://{elsewhere.host}/upload/1?x=y"}))
        await push(store, registry, ME)
        assert {request.method for request in elsewhere.requests} == {"PATCH", "PUT"}
        assert not any("authorization" in request.headers for request in elsewhere.requests)
        assert registry.requests[-1].headers["authorization"] == BASIC


@pytest.mark.parametrize("location", ["ftp://x/", "file:///etc/passwd", "http://[::1", ""])
async def test_an_upload_does_not_go_where_no_registry_is(store: ImageStore, location: str) -> None:
    async with Taker() as registry:
        registry.on(UPLOADS, refuse(202, b"", {"Location": location}))
        with pytest.raises(Unavailable, match=r"redirects|answered 202"):
            await push(store, registry)
        assert not any(request.method == "PATCH" for request in registry.requests)


async def test_a_push_is_not_redirected_into_something_else(store: ImageStore) -> None:
    async with Taker() as registry:
        registry.on(MANIFEST, refuse(303, b"", {"Location": "/v2/"}))
        with pytest.raises(Unavailable, match="answered 303"):
            await push(store, registry)
        registry.on(MANIFEST, refuse(307, b"", {"Location": MANIFEST}))
        with pytest.raises(Unavailable, match="for ever"):
            await push(store, registry)


async def test_a_registry_that_is_silent_in_the_middle_is_given_up(store: ImageStore) -> None:
    async with Taker() as registry:
        registry.on("/v2/", lambda *_: asyncio.Event().wait())
        with pytest.raises(Unavailable, match="stalled"):
            await push(store, registry)


def guard(registry: Taker, token: bytes) -> None:
    """Have it want the token `t`, which its server gives with *token* for an answer."""

    async def guarded(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("authorization") != "Bearer t":
            realm = f'Bearer realm="http://{registry.host}/token",service="s"'
            return answer(writer, 401, b"", {"WWW-Authenticate": realm})
        return answer(writer)

    registry.on("/v2/", guarded)
    registry.on("/token", refuse(200, token))


async def test_a_token_for_a_push_is_asked_for_with_the_right_to_push(store: ImageStore) -> None:
    async with Taker() as registry:
        guard(registry, b'{"token":"t"}')
        await push(store, registry, ME)
        asked = parse_qs(registry.asked("/token")[0].query)
        assert asked["scope"] == ["repository:app:pull,push"]
        assert {request.headers["authorization"] for request in registry.requests[3:]} == {"Bearer t"}


# Questions


@pytest.fixture
def client() -> RegistryClient:
    return RegistryClient(Config(), QUICK)


async def test_a_login_gives_the_token_that_may_be_kept(client: RegistryClient) -> None:
    async with Taker() as registry:
        guard(registry, b'{"token":"t","refresh_token":"kept"}')
        assert await client.login(Credentials("me", "secret", server_address=registry.host)) == "kept"
        asked = registry.asked("/token")[0]
        assert parse_qs(asked.query)["offline_token"] == ["true"]
        assert asked.headers["authorization"] == BASIC
        registry.on("/token", refuse(401, b'{"errors":[{"message":"incorrect username or password"}]}'))
        with pytest.raises(Unauthorized, match="unauthorized: incorrect username or password"):
            await client.login(Credentials("me", "wrong", server_address=registry.host))


@pytest.mark.parametrize("address", ["a b", "http://", "x:99999", "u@x.test", "-", "https://[::1"])
def test_an_address_that_is_no_registry_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument):
        domain_of(address)


@pytest.mark.parametrize("address", ["", "docker.io", "https://index.docker.io/v1/"])
def test_the_default_registry_is_known_by_its_old_names(address: str) -> None:
    assert domain_of(address) == "docker.io"


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("box", ("docker.io", "box")),
        ("library/box", ("docker.io", "box")),
        ("a/box", ("docker.io", "a/box")),
        ("localhost/box", ("localhost", "box")),
        ("x.test:5000/a/b", ("x.test:5000", "a/b")),
    ],
)
def test_a_search_goes_to_the_registry_that_its_term_begins_with(term: str, found: tuple[str, str]) -> None:
    assert split(term) == found


async def test_a_search_is_answered_where_there_is_one(client: RegistryClient) -> None:
    results = [{"name": f"box{number}", "star_count": number, "is_official": number == 1} for number in range(3)]
    async with Taker() as registry:
        registry.on("/v1/search", refuse(200, json.dumps({"results": results}).encode()))
        found = await client.search(f"{registry.host}/a&b", 2, None)
        assert [(image.name, image.stars, image.official) for image in found] == [("box0", 0, False), ("box1", 1, True)]
        assert parse_qs(registry.requests[-1].query) == {"q": ["a&b"], "n": ["2"]}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"results":{}}', b'{"results":[{"name":1}]}', b'{"results":[1]}'])
async def test_a_search_that_is_answered_with_nonsense_is_refused(client: RegistryClient, body: bytes) -> None:
    async with Taker() as registry:
        registry.on("/v1/search", refuse(200, body))
        with pytest.raises(InvalidArgument):
            await client.search(f"{registry.host}/box", 25, None)


async def test_a_config_that_lies_gives_no_platform(client: RegistryClient, tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        name = registry.put("app", "1", IMAGE)
        assert (await client.inspect(name, None)).platforms == (IMAGE.platform,)
        registry.documents[f"/v2/app/blobs/{IMAGE.id}"] = b'{"os":"plan9","architecture":"pdp11"}', "x"
        assert (await client.inspect(name, None)).platforms == ()
