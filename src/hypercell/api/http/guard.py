# SPDX-License-Identifier: Apache-2.0
"""Refuse what a web page makes a browser send.

Whoever can speak to the engine is root on it, so a page must never reach it: not by a cross-site request, not by
a WebSocket, not by a host name that was rebound to a local address (Docker Desktop, CVE-2025-9074). No engine
client sends these headers.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from hypercell.base.errors import Forbidden

_SAME_SITE = ("", "none", "same-origin")


def refuse_browsers(origin: str, fetch_site: str, host: str, local: bool) -> None:
    """Raise `Forbidden` for a request with these header values. *local*: it came over a UNIX socket, which a browser
    cannot open by itself, so that any Host is as good as none."""
    if fetch_site.lower() not in _SAME_SITE:
        raise Forbidden("requests from web pages of other sites are refused")
    scheme, _, where = origin.partition("://")
    if origin and not (scheme in ("http", "https") and _is_local(_host_name(where))):
        raise Forbidden("requests with a foreign Origin header are refused")
    if not local and not _is_local(_host_name(host), any_address=True):
        raise Forbidden("the Host header names no address of this server")


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_local(name: str | None, any_address: bool = False) -> bool:
    if not name:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return any_address or address.is_loopback
