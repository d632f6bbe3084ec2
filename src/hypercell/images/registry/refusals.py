# SPDX-License-Identifier: Apache-2.0
"""What a registry's refusals mean, in docker's words (distribution-spec "Error Codes")."""

from __future__ import annotations

import re
import socket
import ssl

from hypercell.base.errors import Forbidden, HypercellError, InvalidArgument, NotFound, Unauthorized, Unavailable
from hypercell.images.documents import parse_object
from hypercell.images.registry.patience import Transient

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
MAX_BODY = 64 * 1024
"""Bytes of an error's body that are read."""


class Unexpected(HypercellError):
    """An answer that is none to what was asked."""


def _detail(body: bytes) -> tuple[str, str]:
    """(code, message) of the first error in *body*, made fit for a terminal."""
    try:
        errors = parse_object(body, "error").get("errors")
    except InvalidArgument:
        return "", ""
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return "", ""
    return _printable(first.get("code")), _printable(first.get("message"))


def _printable(value: object) -> str:
    return re.sub(r"[^ -~]+", " ", value)[:300].strip() if isinstance(value, str) else ""


def _described(body: bytes, default: str) -> str:
    code, message = _detail(body)
    words = code.lower().replace("_", " ")
    return f"{words}: {message}" if words and message else message or words or default


def of_manifest(status: int, body: bytes, host: str, name: str) -> HypercellError:
    """The error for an answer other than 200 to the request for a manifest; *name* is the familiar reference."""
    code, _ = _detail(body)
    if status == 401:
        return unauthorized(host, body)
    if status == 403 or code == "DENIED":
        return NotFound(
            f"pull access denied for {name}, repository does not exist or may require 'docker login'",
            _described(body, "denied"),
        )
    if status == 404:
        if code == "NAME_UNKNOWN":
            return NotFound(f"repository {name} not found", _described(body, "name unknown"))
        return NotFound(f"manifest for {name} not found", _described(body, "manifest unknown"))
    return unavailable(status, body, f"the registry {host}")


def of_blob(status: int, body: bytes, host: str, digest: str) -> HypercellError:
    if status == 401:
        return unauthorized(host, body)
    if status in (403, 404):
        return NotFound(f"the registry {host} does not have the blob {digest}", _described(body, "blob unknown"))
    return unavailable(status, body, f"the registry {host}")


def of_push(status: int, body: bytes, host: str, name: str) -> HypercellError:
    """The error for an answer that is not what the upload of a part of *name*, a repository, should be met with."""
    if status == 401:
        return unauthorized(host, body)
    if status == 403:
        described = _described(body, "requested access to the resource is denied").removeprefix("denied: ")
        return Forbidden(f"denied: {described}", f"log in to {host} as somebody who may push to {name}")
    if status == 404:
        return NotFound(f"repository {name} not found", _described(body, "name unknown"))
    if status in (400, 413, 415, 422):
        return InvalidArgument(f"the registry {host} does not take it: {_described(body, f'it answered {status}')}")
    return unavailable(status, body, f"the registry {host}")


def unauthorized(host: str, body: bytes = b"") -> Unauthorized:
    described = _described(body, "authentication required").removeprefix("unauthorized: ")
    return Unauthorized(f"unauthorized: {described}", f"log in to {host}")


def unavailable(status: int, body: bytes, who: str) -> Unavailable:
    kind = Transient if status in _TRANSIENT else Unavailable
    return kind(f"{who} answered {status}", _described(body, "try again later"))


def unreachable(host: str, error: Exception) -> Unavailable:
    """No TCP or TLS connection to *host* could be made."""
    reason = _reason(error)
    if isinstance(error.__cause__, ssl.SSLError) or "SSL" in reason or "certificate" in reason:
        return Unavailable(
            f"TLS with the registry {host} failed: {reason}",
            "add its certificate to the system's trust, or set plain_http for it in the daemon's settings",
        )
    kind = Unavailable if _is_unknown(error) else Transient
    return kind(
        f"the registry {host} cannot be reached: {reason}",
        "check its name and the network, or set a mirror for it in the daemon's settings",
    )


def _is_unknown(error: BaseException | None) -> bool:
    """No host has the name, and none will a second later."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = error.__cause__ or error.__context__
    return False


def broken(host: str, error: Exception) -> Unavailable:
    """The connection to *host* was lost, or what came over it was not HTTP."""
    return Transient(f"the connection to the registry {host} broke: {_reason(error)}", "try again")


def _reason(error: Exception) -> str:
    return _printable(str(error)) or type(error).__name__
