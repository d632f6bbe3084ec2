# SPDX-License-Identifier: Apache-2.0
"""The head of a request: what of it must be well-formed before anything else looks at it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from hypercell.base.errors import HypercellError, InvalidArgument

_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://[^/?#]*")


class MalformedRequest(HypercellError):
    """Not HTTP as we accept it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def split_target(target: bytes) -> tuple[str, str]:
    """Path (decoded) and query string of a request target. Raises `InvalidArgument`."""
    match = _ABSOLUTE_FORM.match(target)
    raw, _, query = (target[match.end() :] if match else target).partition(b"?")
    try:
        path = unquote_to_bytes(raw or b"/").decode()
        text = query.decode()
    except UnicodeDecodeError:
        raise InvalidArgument("the request's path is not UTF-8") from None
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument("malformed request target")
    return path, text


def body_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Announced bytes, None for a chunked body. A request with both framings is how requests are smuggled past
    an intermediary that believes the other one (RFC 9112, section 6.1): refused."""
    lengths = [value for name, value in headers if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if chunked and lengths:
        raise MalformedRequest("both Content-Length and Transfer-Encoding")
    if chunked:
        return None
    return int(lengths[0]) if lengths else 0
