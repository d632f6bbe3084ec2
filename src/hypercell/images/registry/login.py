# SPDX-License-Identifier: Apache-2.0
"""Whether a registry knows somebody: its base is asked for in their name (distribution-spec "Determining Support";
distribution's `spec/auth/token.md` for tokens that are kept)."""

from __future__ import annotations

from http import HTTPStatus

from hypercell.base.config import Config
from hypercell.base.errors import HypercellError, Unauthorized
from hypercell.images.contract import Credentials
from hypercell.images.registry import refusals
from hypercell.images.registry.domains import domain_of
from hypercell.images.registry.endpoints import endpoints
from hypercell.images.registry.patience import Limits
from hypercell.images.registry.session import Session


async def login(config: Config, limits: Limits, credentials: Credentials) -> str:
    """A token to be kept instead of the password; empty when the registry gives none. Mirrors are not asked.

    Raises `Unauthorized`, `InvalidArgument`, `Unavailable`.
    """
    endpoint = endpoints(config, domain_of(credentials.server_address))[-1]
    session = Session(endpoint, None, credentials, limits, to_stay=True)
    try:
        async with session.document("/v2/") as response:
            status = response.status_code
    finally:
        await session.close()
    if status != HTTPStatus.OK:
        raise _failed(f"{session.url}/v2/", status)
    return session.identity_token or credentials.identity_token


def _failed(url: str, status: int) -> HypercellError:
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    message = f"login attempt to {url} failed with status: {status} {phrase}".rstrip()
    return Unauthorized(message) if status in (401, 403) else refusals.Unexpected(message)
