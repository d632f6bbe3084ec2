# SPDX-License-Identifier: Apache-2.0
"""A conversation with one endpoint of a registry (OCI distribution-spec, also Docker registry v2).

Secrets stay where they belong: credentials go to the token server that the registry names, tokens to the
registry's own origin, and nothing to wherever a redirect or a layer's URL leads (CVE-2020-15157).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx2

from hypercell.base.errors import InvalidArgument, Unauthorized, Unavailable
from hypercell.images import manifest
from hypercell.images.contract import Credentials
from hypercell.images.documents import MAX_DOCUMENT
from hypercell.images.reference import Reference
from hypercell.images.registry import auth, refusals
from hypercell.images.registry.auth import Token
from hypercell.images.registry.endpoints import Endpoint, is_loopback, leads_here
from hypercell.images.registry.patience import Limits, Stalled

# It logs every URL, and those of redirects may carry signatures.
logging.getLogger("httpx2").setLevel(logging.WARNING)

ACCEPT = ", ".join((*manifest.MANIFEST_TYPES, *manifest.INDEX_TYPES))
MAX_REDIRECTS = 5
MAX_TOKEN = 1024 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_REPEATED = (307, 308)
"""Redirects after which a request is made again as it was; the others turn it into a GET."""


@dataclass(frozen=True, slots=True)
class Content:
    """The body of a request. It may be asked for more than once: after a redirect, or when a token has run out."""

    size: int
    chunks: Callable[[], AsyncGenerator[bytes, None]]
    announced: bool = True
    """False: it may turn out to be shorter."""


async def _no_chunks() -> AsyncGenerator[bytes, None]:
    return
    yield b""


NOTHING = Content(0, _no_chunks)
"""For what takes a registry as long as an upload, but sends nothing."""


class Session:
    """Requests about one repository at one endpoint; to be closed. Not shared between pulls, so neither tokens nor
    cookies of one user can reach another's requests."""

    def __init__(
        self,
        endpoint: Endpoint,
        name: Reference | None,
        credentials: Credentials | None,
        limits: Limits,
        actions: str = "pull",
        to_stay: bool = False,
    ) -> None:
        """*name*: None when no repository is asked about. *actions*: what a token is asked for, where the registry
        does not say. *to_stay*: also ask for a token that can be kept instead of a password."""
        self.endpoint = endpoint
        self.limits = limits
        self.identity_token = ""
        """What a token server has given to be kept instead of a password."""
        self._name = name
        self._path = name.path if name else ""
        self._scope = f"repository:{name.path}:{actions}" if name else ""
        self._to_stay = to_stay
        self._base = endpoint.url
        self._credentials = credentials if endpoint.trusted else None
        token = self._credentials.registry_token if self._credentials else ""
        self._authorization = f"Bearer {token}" if token else ""
        self._token: Token | None = None
        self._challenge: auth.Challenge | None = None
        self._authenticating = asyncio.Lock()
        self._clients: dict[bool, httpx2.AsyncClient] = {}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    @property
    def url(self) -> str:
        """Where the registry has been found to answer: `scheme://host[:port]`."""
        return self._base

    @property
    def name(self) -> str:
        """The repository as docker shows it; empty where none is asked about."""
        return self._name.familiar_name if self._name else ""

    @property
    def repository(self) -> str:
        """The path under which all of the repository is."""
        return f"/v2/{self._path}"

    async def manifest(self, reference: str) -> tuple[bytes, str]:
        """The bytes of a manifest or index by tag or digest, at most 4 MiB, and its Content-Type."""
        async with self.document(f"{self.repository}/manifests/{reference}", {"accept": ACCEPT}) as response:
            if response.status_code != 200:
                refusal = await read_body(response, refusals.MAX_BODY)
                named = self._name.familiar if self._name else reference
                raise refusals.of_manifest(response.status_code, refusal, self.endpoint.host, named)
            return await read_body(response, MAX_DOCUMENT), response.headers.get("content-type", "")

    def blob(self, digest: str, offset: int) -> contextlib.AbstractAsyncContextManager[httpx2.Response]:
        """The answer to a request for a blob, from *offset* on if the registry can do that; body not yet read."""
        headers = {"range": f"bytes={offset}-"} if offset else {}
        return self.exchange("GET", f"{self.repository}/blobs/{digest}", headers)

    def foreign(self, url: str, offset: int) -> contextlib.AbstractAsyncContextManager[httpx2.Response]:
        """As `blob`, from a URL in a manifest: without a secret of any kind."""
        headers = {"range": f"bytes={offset}-"} if offset else {}
        return self.exchange("GET", self.target(self._base, url), headers)

    @contextlib.asynccontextmanager
    async def document(self, url: str, headers: dict[str, str] | None = None) -> AsyncIterator[httpx2.Response]:
        """GET of something small, body included, within the time for an answer."""
        try:
            async with asyncio.timeout(self.limits.answer), self.exchange("GET", url, headers) as response:
                yield response
        except TimeoutError:
            raise self._stalled(self.limits.answer) from None

    async def remark(self, response: httpx2.Response) -> bytes:
        """The body of an answer that has little to say, within the time for an answer. The connection can be used
        again once it has been read."""
        try:
            async with asyncio.timeout(self.limits.answer):
                return await read_body(response, refusals.MAX_BODY)
        except TimeoutError:
            raise self._stalled(self.limits.answer) from None

    @contextlib.asynccontextmanager
    async def exchange(
        self, method: str, url: str, headers: dict[str, str] | None = None, content: Content | None = None
    ) -> AsyncIterator[httpx2.Response]:
        """A request, with redirects and at most one round of authentication. Errors of the transport become
        `Unavailable`."""
        with self.transport_errors():
            response = await self._follow(method, url, headers or {}, content)
            try:
                yield response
            finally:
                await response.aclose()

    async def _follow(self, method: str, url: str, headers: dict[str, str], content: Content | None) -> httpx2.Response:
        authenticated = False
        followed = _REDIRECTS if method in ("GET", "HEAD") else _REPEATED
        for _ in range(MAX_REDIRECTS + 1):
            target = urljoin(self._base + "/", url)
            ours = _origin(target) == _origin(self._base)
            secret = await self._secret() if ours else ""
            response = await self._send(method, target, headers, secret, content=content)
            if response.status_code == 401 and ours and not authenticated:
                challenge = auth.choose(",".join(response.headers.get_list("www-authenticate")))
                await response.aclose()
                authenticated = True
                await self._authenticate(challenge)
            elif response.status_code in followed:
                await response.aclose()
                url = self.target(target, response.headers.get("location", ""))
            else:
                return response
        raise Unavailable(f"the registry {self.endpoint.host} redirects for ever")

    def target(self, origin: str, location: str) -> str:
        """Where *location*, in an answer of *origin*, leads. Raises `Unavailable` when we do not go there."""
        try:
            target = urljoin(origin, location)
            parts = urlsplit(target)
        except ValueError:
            raise Unavailable(f"the registry {self.endpoint.host} redirects to {location[:200]!r}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unavailable(f"the registry {self.endpoint.host} redirects to {location[:200]!r}")
        if parts.scheme == "http" and not self._base.startswith("http://"):
            raise Unavailable(f"the registry {self.endpoint.host} redirects from TLS to plain http", "this was refused")
        if self._is_lured(parts.hostname):
            raise Unavailable(f"the registry {self.endpoint.host} redirects to this machine", "this was refused")
        return target

    def _is_lured(self, name: str) -> bool:
        """Whether a registry elsewhere sends us to services of this machine."""
        return leads_here(name) and not is_loopback(self.endpoint.host)

    async def _send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        secret: str,
        form: dict[str, str] | None = None,
        content: Content | None = None,
    ) -> httpx2.Response:
        headers = {"accept-encoding": "identity", **headers}
        if secret:
            headers["authorization"] = secret
        seconds = self.limits.upload(content.size) if content else self.limits.answer
        try:
            async with asyncio.timeout(seconds):
                try:
                    return await self._once(method, url, headers, form, content)
                except httpx2.ConnectError:
                    if not (self.endpoint.plain_fallback and url.startswith(self.endpoint.url + "/")):
                        raise
                    self._base = self.endpoint.plain_fallback
                    plain = self._base + url.removeprefix(self.endpoint.url)
                    return await self._once(method, plain, headers, form, content)
        except TimeoutError:
            raise self._stalled(seconds) from None

    async def _once(
        self, method: str, url: str, headers: dict[str, str], form: dict[str, str] | None, content: Content | None
    ) -> httpx2.Response:
        client = self._client(is_loopback(urlsplit(url).netloc))
        if content is None:
            return await client.send(client.build_request(method, url, headers=headers, data=form), stream=True)
        # What has been sent is hashed and moved to its place before the answer comes.
        patience = httpx2.Timeout(self.limits.stall, connect=self.limits.connect, read=self.limits.settle)
        async with contextlib.aclosing(content.chunks()) as chunks:
            length = {"content-length": str(content.size)} if content.announced else {}
            request = client.build_request(method, url, headers={**headers, **length}, content=chunks, timeout=patience)
            return await client.send(request, stream=True)

    def _client(self, loopback: bool) -> httpx2.AsyncClient:
        if loopback not in self._clients:
            self._clients[loopback] = httpx2.AsyncClient(
                # A proxy cannot reach our loopback; it would reach its own.
                trust_env=not loopback,
                verify=_unverified() if loopback else True,
                timeout=httpx2.Timeout(self.limits.stall, connect=self.limits.connect),
                headers={"user-agent": "hypercell"},
            )
        return self._clients[loopback]

    async def _secret(self) -> str:
        if self._token is not None and not self._token.is_fresh():
            await self._authenticate(self._challenge)
        return self._authorization

    async def _authenticate(self, challenge: auth.Challenge | None) -> None:
        """Meet *challenge*; afterwards requests carry the answer. Raises `Unauthorized` when that cannot be done."""
        before = self._authorization
        async with self._authenticating:
            if self._authorization != before:
                return  # another download has just done it
            if challenge is None:
                raise Unauthorized(f"{self.endpoint.host} asks for an authentication that is not supported")
            self._challenge = challenge
            if challenge.scheme == "basic":
                if not (self._credentials and self._credentials.username):
                    raise Unauthorized("no basic auth credentials", f"log in to {self.endpoint.host}")
                if before:
                    raise refusals.unauthorized(self.endpoint.host)
                self._authorization = auth.basic(self._credentials)
                return
            self._token = await self._fetch_token(challenge)
            self._authorization = f"Bearer {self._token.value}"

    async def _fetch_token(self, challenge: auth.Challenge) -> Token:
        plain = self._base.startswith("http://")
        request = auth.token_request(challenge, self._scope, self._credentials, plain, self._to_stay)
        if self._is_lured(urlsplit(request.url).hostname or ""):
            raise Unauthorized(f"the registry {self.endpoint.host} names a token server on this machine")
        method = "POST" if request.form is not None else "GET"
        url = str(httpx2.URL(request.url).copy_merge_params(request.query)) if request.query else request.url
        response = await self._send(method, url, {}, request.authorization, request.form)
        try:
            async with asyncio.timeout(self.limits.answer):
                body = await read_body(response, MAX_TOKEN)
        except TimeoutError:
            raise self._stalled(self.limits.answer) from None
        finally:
            await response.aclose()
        if response.status_code in (400, 401, 403):
            raise refusals.unauthorized(self.endpoint.host, body)
        if response.status_code != 200:
            raise refusals.unavailable(response.status_code, body, f"the token server of {self.endpoint.host}")
        token = auth.parse_token(body)
        self.identity_token = token.identity or self.identity_token
        return token

    def _stalled(self, seconds: float) -> Stalled:
        return Stalled(self.endpoint.host, seconds)

    @contextlib.contextmanager
    def transport_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx2.ReadTimeout:
            raise self._stalled(self.limits.stall) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise refusals.unreachable(self.endpoint.host, error) from error
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.StreamError, UnicodeError) as error:
            raise refusals.broken(self.endpoint.host, error) from error


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)


async def read_body(response: httpx2.Response, limit: int) -> bytes:
    """The body. Raises `InvalidArgument` when it is larger than *limit*, having read hardly more than that."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise InvalidArgument(f"the registry's answer is larger than {limit} bytes")
    return bytes(body)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
