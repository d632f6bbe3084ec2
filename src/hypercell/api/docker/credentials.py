# SPDX-License-Identifier: Apache-2.0
"""Credentials for a registry as docker's clients send them: JSON, in a header or as the body of `POST /auth`."""

from __future__ import annotations

import base64
import binascii

from hypercell.api.docker.documents import Fields, load_json
from hypercell.api.docker.engine import Call
from hypercell.base.errors import InvalidArgument
from hypercell.images.contract import Credentials

HEADER = "X-Registry-Auth"
_MAX = 64 * 1024


def sent_with(call: Call) -> Credentials | None:
    """What came with a request that a registry is asked for. Raises `InvalidArgument`."""
    return parse_credentials(call.header(HEADER.lower()))


def parse_credentials(header: str) -> Credentials | None:
    """`X-Registry-Auth`: base64url of JSON. Raises `InvalidArgument`."""
    if not header:
        return None
    try:
        packed = header[:_MAX].rstrip("=").replace("-", "+").replace("_", "/")
        text = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"{HEADER}: not base64") from None
    document = load_json(text, HEADER)
    if document is None:
        return None
    credentials = read_credentials(Fields(document, HEADER))
    return None if credentials == Credentials(server_address=credentials.server_address) else credentials


def read_credentials(fields: Fields) -> Credentials:
    """docker's `AuthConfig`. Raises `InvalidArgument`."""
    username, password = fields.text("username"), fields.text("password")
    if auth := fields.text("auth"):
        try:
            decoded = base64.b64decode(auth, validate=True).decode()
        except ValueError:
            raise InvalidArgument(f"{fields.name('auth')} is not base64") from None
        username, _, password = (username or decoded.partition(":")[0]), "", (password or decoded.partition(":")[2])
    return Credentials(
        username=username,
        password=password,
        identity_token=fields.text("identitytoken", limit=_MAX),
        registry_token=fields.text("registrytoken", limit=_MAX),
        server_address=fields.text("serveraddress"),
    )
