# SPDX-License-Identifier: Apache-2.0
"""Where a registry's API is: its mirrors first, then the registry itself, and whether TLS is asked for.

Plain http is spoken to registries that the configuration marks so, and to loopback addresses, which docker also
takes for insecure: there TLS is tried first, without checking who answers.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from hypercell.base.config import Config
from hypercell.base.errors import InvalidArgument
from hypercell.images import reference


@dataclass(frozen=True, slots=True)
class Endpoint:
    url: str
    """`scheme://host[:port]`, nothing after it."""
    trusted: bool
    """True for the registry that the image's name gives: only it is shown credentials."""
    verify: bool = True
    """False: its certificate is not checked (loopback)."""
    plain_fallback: str = ""
    """Tried when nothing speaks TLS at `url`."""

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def plain(self) -> bool:
        return self.url.startswith("http://")


def is_loopback(host: str) -> bool:
    """True when *host* (`name[:port]`) can only be this machine. Names are not looked up: DNS is not to be trusted."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def leads_here(name: str) -> bool:
    """True when *name* (a host without port or brackets) is loopback in any spelling that the resolver understands:
    `127.1`, `0`, `2130706433`, `::ffff:127.0.0.1`. What a stranger names must not be one."""
    name = name.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv4Address(socket.inet_aton(name))
    except OSError:
        try:
            found = ipaddress.IPv6Address(name.partition("%")[0])
        except ValueError:
            return False
        address = found.ipv4_mapped or found
    return address.is_loopback or address.is_unspecified


def endpoints(config: Config, domain: str) -> list[Endpoint]:
    """The endpoints for the registry *domain*, in the order to try them."""
    settings = config.registry(domain)
    mirrors = [_mirror(text) for text in settings.mirrors]
    return [*mirrors, _endpoint(domain, settings.plain_http, trusted=True)]


def _endpoint(host: str, plain: bool, trusted: bool) -> Endpoint:
    if plain:
        return Endpoint(f"http://{host}", trusted, verify=False)
    if is_loopback(host):
        return Endpoint(f"https://{host}", trusted, verify=False, plain_fallback=f"http://{host}")
    return Endpoint(f"https://{host}", trusted)


def _mirror(text: str) -> Endpoint:
    scheme, found, host = text.rpartition("://")
    if scheme not in ("http", "https" if found else "") or not reference.is_domain(host):
        raise InvalidArgument(f"mirror {text!r} is not [http://]host[:port]")
    return _endpoint(host, scheme == "http", trusted=False)
