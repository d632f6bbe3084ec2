# SPDX-License-Identifier: Apache-2.0
"""What is at a URL, as a stream: the root file systems that `import` takes from a web server.

The URL is the operator's own word, so it may lead anywhere that this machine reaches, to its own services too. The
server is a stranger: what it sends is bounded in size, time and redirects, and it cannot change what is spoken.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import httpx2

from hypercell.base.errors import Forbidden, HypercellError, InvalidArgument, NotFound, Unauthorized
from hypercell.images.contract import Progress, ProgressSink
from hypercell.images.layers import Limits as LayerLimits
from hypercell.images.registry.endpoints import is_loopback
from hypercell.images.registry.patience import Limits

MAX_BYTES = LayerLimits().layer_bytes
MAX_SECONDS = 24 * 3600.0
MAX_REDIRECTS = 10
_MAX_URL = 8192
_MAX_REMARK = 2048
_REPORT_BYTES = 1024 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_REFUSALS: dict[int, type[HypercellError]] = {400: InvalidArgument, 401: Unauthorized, 403: Forbidden, 404: NotFound}


class FetchFailed(HypercellError):
    """A server that cannot be reached, or does not send what was asked for: 500, as dockerd says."""


def normalise(url: str) -> str:
    """*url*, `http` where it names no scheme. Raises `InvalidArgument`."""
    if "://" not in url:
        url = f"http://{url}"
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidArgument(f"{url[:200]!r} is not a URL", "write http://… or https://…, escaped")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL) as error:
        raise InvalidArgument(f"parse {redacted(url)!r}: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise InvalidArgument(f'Get "{redacted(url)}": unsupported protocol scheme "{parts.scheme}"')
    if not named:
        raise InvalidArgument(f'Get "{redacted(url)}": http: no Host in request URL')
    return url


def redacted(url: str) -> str:
    """To be shown: a password is not."""
    scheme, found, rest = url[:_MAX_URL].partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    return f"{scheme}{found}{re.sub(':.*', ':xxxxx', user)}{at}{host}{slash}{path}"


async def fetch(url: str, progress: ProgressSink, limits: Limits | None = None) -> AsyncGenerator[bytes, None]:
    """The body of the answer to a GET of *url* (see `normalise`). To be closed.

    Raises, in dockerd's words: `NotFound`, `InvalidArgument`, `Unauthorized`, `Forbidden`, `FetchFailed`.
    """
    limits = limits or Limits()
    began = time.monotonic()
    for _ in range(MAX_REDIRECTS + 1):
        async with _client(url, limits) as client:
            response = await _ask(client, url, limits)
            try:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    url = _redirected(url, response.headers["location"])
                    continue
                if response.status_code >= 400:
                    raise await _refusal(url, response, limits)
                progress(Progress(f"Downloading from {redacted(url)}"))
                async with aclosing(_body(url, response, progress, limits, began)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            finally:
                await response.aclose()
    raise FetchFailed(f'Get "{redacted(url)}": stopped after {MAX_REDIRECTS} redirects')


def _client(url: str, limits: Limits) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        trust_env=not is_loopback(urlsplit(url).netloc.rpartition("@")[2]),  # a proxy would reach its own loopback
        timeout=httpx2.Timeout(limits.stall, connect=limits.connect),
        headers={"user-agent": "hypercell", "accept-encoding": "identity"},
    )


async def _ask(client: httpx2.AsyncClient, url: str, limits: Limits) -> httpx2.Response:
    try:
        async with asyncio.timeout(limits.answer):
            return await client.send(client.build_request("GET", url), stream=True)
    except (TimeoutError, httpx2.TimeoutException):
        raise FetchFailed(f'Get "{redacted(url)}": no answer within {limits.answer:g} seconds') from None
    except (httpx2.TransportError, httpx2.InvalidURL, UnicodeError) as error:
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: Exception) -> HypercellError:
    words = f'Get "{redacted(url)}": {_printable(str(error)) or type(error).__name__}'
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return NotFound(words, "check the name of the host")
        if isinstance(cause, ssl.SSLError):
            return FetchFailed(words, "add its certificate to the system's trust")
        cause = cause.__cause__ or cause.__context__
    return FetchFailed(words, "check the address and the network")


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads: to http or https, and from https to no http."""
    try:
        target = normalise(urljoin(url, location[:_MAX_URL]))
    except (InvalidArgument, ValueError) as error:
        raise FetchFailed(f'Get "{redacted(url)}": redirected: {error}') from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise FetchFailed(f'Get "{redacted(url)}": redirected to {redacted(target)}, without TLS', "give that URL")
    return target


async def _refusal(url: str, response: httpx2.Response, limits: Limits) -> HypercellError:
    said = bytearray()
    try:
        async with asyncio.timeout(limits.answer):
            async for chunk in response.aiter_raw():
                said += chunk
                if len(said) >= _MAX_REMARK:
                    break
    except (TimeoutError, httpx2.TransportError, httpx2.StreamError):
        pass  # the status says enough
    code = response.status_code
    phrase = HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else ""
    words = f"failed to GET {redacted(url)} with status {code} {phrase}".rstrip()
    remark = _printable(said[:_MAX_REMARK].decode("utf-8", "replace"))
    return _REFUSALS.get(code, FetchFailed)(f"{words}: {remark}")


async def _body(
    url: str, response: httpx2.Response, progress: ProgressSink, limits: Limits, began: float
) -> AsyncGenerator[bytes, None]:
    length = response.headers.get("content-length", "")
    total = int(length) if re.fullmatch("[0-9]{1,18}", length) else 0
    received = told = 0
    try:
        async for chunk in response.aiter_raw():
            received += len(chunk)
            elapsed = time.monotonic() - began
            if max(received, total) > MAX_BYTES:
                raise InvalidArgument(f"{redacted(url)} is larger than {MAX_BYTES >> 30} GiB")
            if elapsed > min(MAX_SECONDS, limits.answer + received / limits.slowest):
                raise FetchFailed(f"{redacted(url)} comes too slowly", "fetch it and import from standard input")
            if received - told >= _REPORT_BYTES or received == total:
                told = received
                progress(Progress("Importing", "", received, total))
            yield chunk
    except httpx2.TimeoutException:
        raise FetchFailed(f"{redacted(url)}: nothing came for {limits.stall:g} seconds") from None
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise FetchFailed(f"{redacted(url)} broke off: {_printable(str(error))}", "try again") from error


def _printable(text: str) -> str:
    return re.sub(r"[^ -~]+", " ", text)[:1000].strip()
