# SPDX-License-Identifier: Apache-2.0
"""What a browser sends on behalf of a web page never reaches the engine (C4 of docs/security.md; CVE-2025-9074)."""

from __future__ import annotations

import pytest

from hypercell.api.http.guard import refuse_browsers
from hypercell.base.errors import Forbidden

from .conftest import Site


def allowed(origin: str = "", fetch_site: str = "", host: str = "localhost", local: bool = False) -> bool:
    try:
        refuse_browsers(origin, fetch_site, host, local)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize("host", ["localhost", "localhost:2375", "127.0.0.1:80", "[::1]:1", "192.0.2.7", "a.localhost"])
def test_over_tcp_a_host_that_no_name_server_can_forge_is_served(host: str) -> None:
    assert allowed(host=host)


@pytest.mark.parametrize(
    "host",
    ["", "docker", "evil.example", "evil.example:2375", "localhost.evil.example", "127.0.0.1.evil.example",
     "localhost@evil.example", "evil.example#localhost", "[::1", "[evil]:1", "2130706433", "127.1"],
)  # fmt: skip
def test_over_tcp_a_name_that_was_rebound_to_us_is_refused(host: str) -> None:
    """DNS rebinding: the page's own origin, so that the browser asks nobody, and our address behind its name."""
    assert not allowed(host=host)
    assert not allowed(host=host, origin=f"http://{host}")


@pytest.mark.parametrize(
    "origin",
    ["null", "file://", "http://evil.example", "https://evil.example:2375", "http://localhost.evil.example", "http://",
     "http://127.0.0.1.evil.example", "http://localhost@evil.example", "http://[::1", "http://[evil]", "localhost",
     "://localhost", "moz-extension://localhost"],
)  # fmt: skip
@pytest.mark.parametrize("local", [True, False])
def test_a_foreign_origin_is_refused_on_every_door(origin: str, local: bool) -> None:
    assert not allowed(origin=origin, local=local)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", "anything"])
def test_what_a_browser_calls_another_sites_is_refused(site: str) -> None:
    assert not allowed(fetch_site=site, origin="http://localhost", local=True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x"},
        {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
    ],
    ids=["websocket", "preflight"],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_no_page_may_open_a_socket_or_ask_for_permission(
    site: Site, method: str, headers: dict[str, str]
) -> None:
    reached = []

    @site.route(method, "/attach")
    async def attach(request):
        reached.append(request)

    client = await site.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    await client.send(f"{method} /attach HTTP/1.1\r\nHost: docker\r\n{lines}\r\n".encode())
    status, answered, _ = await client.answer()
    assert status == 403
    assert not [name for name in answered if name.startswith("access-control")]
    assert reached == []
