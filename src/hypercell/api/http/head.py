# SPDX-License-Identifier: Apache-2.0
"""The head of a request: what of it must be well-formed before anything else looks at it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from hypercell.base.errors import HypercellError, InvalidArgument

_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://[^/?#]*")
_TWO_READINGS = re.compile(rb"(?<!\r)\n|\n[ \t]")
"""A line that ends without a carriage return, or goes on in the next one: parsers disagree about both."""
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class MalformedRequest(HypercellError):
    """Not HTTP as we accept it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def check_head(head: bytes | bytearray, limit: int) -> None:
    """Refuse the bytes of a complete head that exceed *limit*, or that others may read as another request."""
    if len(head) > limit:
        raise MalformedRequest(f"request head too large: at most {limit} bytes are accepted", 431)
    if _TWO_READINGS.search(head):
        raise MalformedRequest("malformed request: header lines end with CR LF, and each is one line")


def check_expectation(expectation: str) -> None:
    """Raises for an `Expect` header that asks for what nobody here knows."""
    if expectation and expectation.lower() != "100-continue":
        raise MalformedRequest("the Expect header may say 100-continue, and nothing else", 417)


def split_target(target: bytes) -> tuple[str, str]:
    """Path (decoded) and query string of a request target; `*` is a path too. Raises `InvalidArgument`."""
    if target == b"*":
        return "*", ""
    if _BROKEN_ESCAPE.search(target):
        raise InvalidArgument("malformed request target: % is followed by two hexadecimal digits")
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


def body_length(headers: Iterable[tuple[bytes, bytes]], http_version: bytes) -> int | None:
    """Announced bytes, None for a chunked body. A request with both framings is how requests are smuggled past
    an intermediary that believes the other one (RFC 9112, section 6.1): refused, like one that is chunked in
    HTTP/1.0, which knows no chunks."""
    lengths = [value for name, value in headers if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if chunked and lengths:
        raise MalformedRequest("both Content-Length and Transfer-Encoding")
    if chunked and http_version == b"1.0":
        raise MalformedRequest("Transfer-Encoding in HTTP/1.0")
    if chunked:
        return None
    return int(lengths[0]) if lengths else 0
