# SPDX-License-Identifier: Apache-2.0
"""Which network: `NetworkMode`, `NetworkingConfig`, name servers and extra hosts."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from hypercell.api.docker.documents import Fields
from hypercell.api.docker.network_ids import NETWORK_IDS
from hypercell.base.errors import InvalidArgument, Unsupported

_PER_NETWORK = ("Links", "DriverOpts", "MacAddress", "GwPriority")
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
    """`bridge` or `none`. Raises `Unsupported`, `InvalidArgument`: clients take a `NotFound` for the image's."""
    if mode in ("", "default"):
        return "bridge"
    for name, network_id in NETWORK_IDS.items():
        if mode == name or (len(mode) >= 12 and network_id.startswith(mode)):
            return name
    if mode == "host" or mode.startswith("container:"):
        raise Unsupported(
            f"HostConfig.NetworkMode {mode[:100]!r} is not built yet",
            "every container has its own network: bridge, none",
        )
    raise InvalidArgument(f"network {mode[:100]} not found", "choose bridge or none")


def check_endpoints(fields: Fields | None, network: str) -> None:
    """`NetworkingConfig`: one endpoint at most, on the network of `NetworkMode`, without wishes of its own."""
    if fields is None:
        return
    endpoints = fields.mapping("EndpointsConfig", limit=100)
    fields.finish()
    if len(endpoints) > 1:
        raise InvalidArgument(
            f"Container cannot be created with multiple network endpoints: {', '.join(map(str, endpoints))}"
        )
    for name, value in endpoints.items():
        if parse_network_mode(name) != network:
            raise InvalidArgument("HostConfig.NetworkMode must match the identity of a network in EndpointsConfig")
        if value is not None:
            _check_endpoint(Fields(value, f"NetworkingConfig.EndpointsConfig.{name}"))


def _check_endpoint(endpoint: Fields) -> None:
    for key in _REPORTED:
        endpoint.take(key)
    if endpoint.texts("Aliases"):
        raise InvalidArgument("network-scoped aliases are only supported for user-defined networks")
    if ipam := endpoint.take("IPAMConfig"):
        given = Fields(ipam, endpoint.name("IPAMConfig"))
        if given.text("IPv4Address") or given.text("IPv6Address") or given.texts("LinkLocalIPs"):
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        given.finish()
    for key in _PER_NETWORK:
        if endpoint.take(key) not in (None, "", 0, [], {}):
            raise Unsupported(f"{endpoint.name(key)} is not built yet")
    endpoint.finish()


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
