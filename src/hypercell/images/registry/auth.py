# SPDX-License-Identifier: Apache-2.0
"""Authentication to a registry: the challenge it answers with, and the token that meets it.

Sources: RFC 9110 section 11 (challenges), RFC 7617 (Basic), distribution's `spec/auth/{token,oauth,scope}.md`.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from hypercell.base.errors import InvalidArgument, Unauthorized
from hypercell.images.contract import Credentials
from hypercell.images.documents import Fields, parse_object

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9._~+-]*)\s+(?=[A-Za-z])|\s*([A-Za-z][A-Za-z0-9-]*)\s*(?:,|$)")
_PARAMETER = re.compile(r'\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
CLIENT_ID = "hypercell"
DEFAULT_LIFETIME = 60
"""Seconds that a token lives when its server does not say (token.md)."""
MAX_HEADER = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    scheme: str
    """Lower case: `bearer`, `basic`."""
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Token:
    value: str
    expires: float
    """On the monotonic clock."""
    identity: str = ""
    """A token to be kept instead of a password, if one was asked for and given."""

    def is_fresh(self, now: Callable[[], float] = time.monotonic) -> bool:
        return now() < self.expires


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """How to ask a token server: GET with a query, or POST with a form when there is an identity token."""

    url: str
    query: tuple[tuple[str, str], ...]
    form: dict[str, str] | None
    authorization: str


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header, in order; what cannot be read ends the list."""
    found: list[Challenge] = []
    position = 0
    header = header[:MAX_HEADER]
    while position < len(header):
        match = _PARAMETER.match(header, position)
        if match and found:
            value = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
            found[-1].parameters.setdefault(match[1].lower(), value)
        else:
            match = _SCHEME.match(header, position)
            if match is None:
                break
            found.append(Challenge((match[1] or match[2]).lower(), {}))
        position = match.end()
    return found


def choose(header: str) -> Challenge | None:
    """The challenge to meet: Bearer before Basic."""
    challenges = parse_challenges(header)
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    return None


def basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def token_request(
    challenge: Challenge, scope: str, credentials: Credentials | None, plain: bool, to_stay: bool = False
) -> TokenRequest:
    """How to get a token for *scope*, or for what the challenge asks. *plain*: the registry itself speaks http.
    *to_stay*: also ask for one that can be kept instead of a password.

    Raises `Unauthorized` when the realm is no URL that secrets may be sent to.
    """
    realm = challenge.parameters.get("realm", "")
    parts = urlsplit(realm)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or "\n" in realm:
        raise Unauthorized(f"the registry names {realm[:200]!r} as its token server, which is not a URL")
    if parts.scheme == "http" and not plain:
        raise Unauthorized(
            f"the registry asks for credentials to be sent to {parts.netloc} without TLS", "this was refused"
        )
    service = challenge.parameters.get("service", "")
    scopes = challenge.parameters.get("scope") or scope
    if credentials and credentials.identity_token:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": credentials.identity_token,
            "service": service,
            "scope": scopes,
            "client_id": CLIENT_ID,
        }
        return TokenRequest(realm, (), form, "")
    query = [("service", service)] if service else []
    query += [("scope", item) for item in scopes.split(" ") if item]
    if credentials and credentials.username:
        query.append(("account", credentials.username))
        if to_stay:
            query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
        return TokenRequest(realm, tuple(query), None, basic(credentials))
    return TokenRequest(realm, tuple(query), None, "")


def parse_token(body: bytes, now: Callable[[], float] = time.monotonic) -> Token:
    """The answer of a token server."""
    try:
        fields = Fields(parse_object(body, "the token server's answer"), "the token server's answer")
        value = fields.text("token") or fields.text("access_token")
        identity = fields.text("refresh_token")
        seconds = fields.values.get("expires_in")
    except InvalidArgument as error:
        raise Unauthorized(error.message) from None
    if not _is_usable(value) or not (identity == "" or _is_usable(identity)):
        raise Unauthorized("the token server's answer holds no usable token")
    lifetime = seconds if type(seconds) is int and 0 < seconds < 10**6 else DEFAULT_LIFETIME
    # Renewed a little early, so that a token never runs out on its way.
    return Token(value, now() + lifetime * 0.9, identity)


def _is_usable(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable() and " " not in token
