# SPDX-License-Identifier: Apache-2.0
"""Which network: `NetworkMode`, `NetworkingConfig`, name servers and extra hosts."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import replace
from typing import Any

from hypercell.api.docker.create.joining import PREFIX
from hypercell.api.docker.documents import Fields
from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.cloud.contract import Wish
from hypercell.node.network import BRIDGE, NONE

_UNBUILT = ("Links", "DriverOpts")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_REPORTED = (
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "DNSNames",
)
"""What inspect answers and some clients send back: an answer, not a wish."""
HOST_GATEWAY = "host-gateway"


def parse_network_mode(mode: str) -> str:
    """A network's name or id. Raises `Unsupported`."""
    if mode in ("", "default"):
        return "bridge"
    for name, network_id in (("bridge", BRIDGE), ("none", NONE)):
        if mode == name or (len(mode) >= 12 and network_id.startswith(mode)):
            return name
    if mode == "host":
        raise Unsupported(
            f"HostConfig.NetworkMode {mode[:100]!r} is not built yet",
            "every container has its own network: bridge, none, or one of your own",
        )
    return mode


def refuse_endpoints(fields: Fields | None, mac: str) -> None:
    """`NetworkingConfig` of a container that is on the networks of another."""
    if mac:
        raise InvalidArgument("conflicting options: mac-address and the network mode")
    endpoints = fields.mapping("EndpointsConfig", limit=100) if fields is not None else {}
    if any(not name.startswith(PREFIX) or value for name, value in endpoints.items()):
        raise InvalidArgument(
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network"
        )


def parse_endpoints(fields: Fields | None, network: str, mac: str) -> tuple[Wish, ...]:
    """`NetworkingConfig`: what is asked of each network; that of `NetworkMode` comes first, and *mac* is asked of it.
    Nothing, where nothing is asked of any."""
    endpoints = fields.mapping("EndpointsConfig", limit=100) if fields is not None else {}
    if fields is not None:
        fields.finish()
    wishes = {}
    for name, value in endpoints.items():
        wish = parse_endpoint(Fields({} if value is None else value, f"NetworkingConfig.EndpointsConfig.{name}"), name)
        wishes[wish.network] = wish
    if wishes and network not in wishes and network not in ("bridge", "none"):
        wishes = {network: Wish(network), **wishes}
    if (network == "none" and wishes.keys() - {network}) or (network != "none" and "none" in wishes):
        raise InvalidArgument("HostConfig.NetworkMode must match the identity of a network in EndpointsConfig")
    if mac:
        own = wishes.get(network, Wish(network))
        if own.mac not in ("", mac):
            raise InvalidArgument("the container-wide MAC address must match the endpoint-specific MAC address")
        wishes = {network: replace(own, mac=mac), **{name: wish for name, wish in wishes.items() if name != network}}
    if list(wishes.values()) == [Wish(network)]:
        return ()  # docker's CLI names the network also where nothing is asked of it
    first = [wish for name, wish in wishes.items() if name == network]
    return (*first, *(wish for name, wish in wishes.items() if name != network))


def parse_endpoint(endpoint: Fields, network: str) -> Wish:
    """docker's `EndpointSettings`."""
    for key in _REPORTED:
        endpoint.take(key)
    aliases = endpoint.texts("Aliases", limit=100, size=253) or ()
    address = ""
    if (ipam := endpoint.object("IPAMConfig")) is not None:
        address = ipam.text("IPv4Address", limit=64)
        if ipam.text("IPv6Address") or ipam.texts("LinkLocalIPs"):
            raise Unsupported(f"{ipam.name('IPv6Address')} is not built yet", "containers have IPv4 addresses")
        ipam.finish()
    if address:
        parse_address(address, endpoint.name("IPAMConfig.IPv4Address"))
    mac = parse_mac(endpoint.text("MacAddress", limit=64))
    endpoint.number("GwPriority")  # of a container's only network
    for key in _UNBUILT:
        if endpoint.take(key) not in (None, "", 0, [], {}):
            raise Unsupported(f"{endpoint.name(key)} is not built yet")
    endpoint.finish()
    return Wish(parse_network_mode(network), aliases, address, mac)


def parse_mac(text: str) -> str:
    """As the kernel writes it. Raises `InvalidArgument`."""
    plain = text.lower().replace("-", ":")
    if plain and not _MAC.fullmatch(plain):
        raise InvalidArgument(f"invalid MAC address: {text[:50]!r}", "such as 02:42:ac:11:00:02")
    return plain


def parse_address(text: str, field: str) -> None:
    """Raises `InvalidArgument` for no IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        raise InvalidArgument(f"{field}: invalid IPv4 address: {text[:50]!r}") from None


def parse_names(fields: Fields) -> dict[str, Any]:
    """Name servers, search domains and entries of /etc/hosts."""
    servers = fields.texts("Dns", limit=16, size=64) or ()
    for server in servers:
        _address(server, fields.name("Dns"))
    return {
        "dns": servers,
        "dns_search": fields.texts("DnsSearch", limit=32, size=253) or (),
        "dns_options": fields.texts("DnsOptions", limit=32, size=253) or (),
        "extra_hosts": tuple(_extra_host(host) for host in fields.texts("ExtraHosts", limit=1000, size=512) or ()),
    }


def _extra_host(text: str) -> str:
    name, separator, address = text.partition(":")
    if not separator or not name or any(c.isspace() for c in text):
        raise InvalidArgument(f"bad format for add-host: {json.dumps(text[:100])}")
    if address != HOST_GATEWAY:
        try:
            ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            raise InvalidArgument(f"invalid IP address in add-host: {address[:100]!r}") from None
    return f"{name}:{address.strip('[]')}"


def _address(text: str, field: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgument(f"{field}: invalid IP address {text!r}") from None
