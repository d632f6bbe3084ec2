# SPDX-License-Identifier: Apache-2.0
"""Ports in docker's spelling: `80/tcp`, and where they are published."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypercell.api.docker.documents import Fields
from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.node.network import PublishedPort

_PROTOCOLS = ("tcp", "udp")


def split_port(text: str, field: str) -> tuple[int, str]:
    """`80/tcp` or `80` as number and protocol. Raises `InvalidArgument`, `Unsupported`."""
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if not is_digits(number, longest=5) or not 0 < int(number) < 65536:
        raise InvalidArgument(f'{field}: invalid port specification: "{text[:40]}"')
    if protocol == "sctp":
        raise Unsupported(f"{field}: SCTP is not built yet")
    if protocol not in _PROTOCOLS:
        raise InvalidArgument(f'{field}: invalid protocol in "{text[:40]}"')
    return int(number), protocol


def parse_port(text: str, field: str) -> str:
    number, protocol = split_port(text, field)
    return f"{number}/{protocol}"


def parse_bindings(fields: Fields) -> tuple[tuple[PublishedPort, ...], dict[str, Any]]:
    """`PortBindings`: the ports to publish, and the same as docker shows it."""
    published: list[PublishedPort] = []
    shown: dict[str, Any] = {}
    field = fields.name("PortBindings")
    for text, bindings in fields.mapping("PortBindings", limit=1000).items():
        port, protocol = split_port(text, field)
        if bindings is not None and (not isinstance(bindings, list) or len(bindings) > 1000):
            raise InvalidArgument(f"{field}[{text}]: must be a list")
        entries = [Fields(binding, f"{field}[{text}]") for binding in bindings or [{}]]
        parsed = [_binding(entry, port, protocol, field) for entry in entries]
        published += parsed
        shown[f"{port}/{protocol}"] = [
            {
                "HostIp": "" if binding.host_ip == "0.0.0.0" else binding.host_ip,  # noqa: S104
                "HostPort": str(binding.host_port or ""),
            }
            for binding in parsed
        ]
    return tuple(published), shown


def _binding(entry: Fields, port: int, protocol: str, field: str) -> PublishedPort:
    address = entry.text("HostIp", limit=64)
    host_port = entry.text("HostPort", limit=16)
    entry.finish()
    if "-" in host_port:
        raise Unsupported(f"{field}: a range of host ports is not built yet", "name one port, or none for any")
    number = 0 if host_port in ("", "0") else split_port(host_port, field)[0]
    return PublishedPort(port, protocol, _host_address(address, field), number)


def _host_address(text: str, field: str) -> str:
    if not text:
        return "0.0.0.0"  # noqa: S104 - docker's meaning of "not said"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgument(f"{field}: invalid IP address {text!r}") from None
    if address.version != 4:
        raise Unsupported(f"{field}: publishing on IPv6 addresses is not built yet", "use an IPv4 address")
    return str(address)
