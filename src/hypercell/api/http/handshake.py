# SPDX-License-Identifier: Apache-2.0
"""The server's half of a WebSocket's handshake (RFC 6455, section 4.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

from hypercell.api.http.messages import Headers, Request
from hypercell.base.errors import InvalidArgument

_VERSION = "13"
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")


def accept(request: Request[Any]) -> Headers:
    """The headers with which a client is answered that asks for a WebSocket. Raises `InvalidArgument` for one that
    does not."""
    wishes = [word.strip() for word in request.header("connection").lower().split(",")]
    if request.header("upgrade").lower() != "websocket" or "upgrade" not in wishes:
        raise InvalidArgument("this is for WebSockets", "send Upgrade: websocket, or POST to …/attach")
    if request.header("sec-websocket-version") != _VERSION:
        raise InvalidArgument("missing or bad WebSocket Version", f"it is {_VERSION}")
    key = request.header("sec-websocket-key")
    if not _is_key(key):
        raise InvalidArgument("missing or bad Sec-WebSocket-Key", "it is 16 random bytes in base64")
    digest = hashlib.sha1((key + _MAGIC).encode(), usedforsecurity=False).digest()
    answer: Headers = (("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),)
    protocol = request.header("sec-websocket-protocol")
    # One that is asked for is confirmed, as by dockerd: the stream is the same in all of them.
    return (*answer, ("Sec-WebSocket-Protocol", protocol)) if _TOKEN.fullmatch(protocol) else answer


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
