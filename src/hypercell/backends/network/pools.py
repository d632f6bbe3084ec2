# SPDX-License-Identifier: Apache-2.0
"""Which subnet a new network has: the one that was asked for, or the first of docker's default pools that is free."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from hypercell.base.errors import Forbidden, InvalidArgument
from hypercell.node.network import NetworkSpec

_DEFAULTS = (("172.16.0.0/12", 16), ("192.168.0.0/16", 20))
"""Ranges, and the prefix length of the subnets that they are cut into; private ones (RFC 1918), as docker's."""
WIDEST, NARROWEST = 8, 29


def parse_subnet(text: str, field: str = "subnet") -> ipaddress.IPv4Network:
    """Raises `InvalidArgument`."""
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise InvalidArgument(f"invalid {field} {text[:50]!r}: invalid CIDR block notation") from None
    if str(network) != text:
        raise InvalidArgument(f"invalid {field} {text[:50]}: it should be {network}")
    if field == "subnet" and not WIDEST <= network.prefixlen <= NARROWEST:
        raise InvalidArgument(f"invalid subnet {text}", f"choose one between /{WIDEST} and /{NARROWEST}")
    return network


def completed(spec: NetworkSpec, taken: Iterable[ipaddress.IPv4Network]) -> NetworkSpec:
    """*spec* with its subnet and gateway. *taken*: what it must not overlap.

    Raises `InvalidArgument`, and `Forbidden` for a subnet that overlaps.
    """
    taken = list(taken)
    if spec.subnet:
        subnet = parse_subnet(spec.subnet)
        if subnet.is_multicast or subnet.is_loopback or subnet.is_link_local or subnet.is_unspecified:
            raise InvalidArgument(
                f"invalid subnet {subnet}: it is not for networks of machines", "choose a private one"
            )
        for other in taken:
            if subnet.overlaps(other):
                words = f"invalid pool request: Pool overlaps with other one on this address space: {subnet}, {other}"
                raise Forbidden(words, "choose another subnet, or none")
    else:
        subnet = _free(taken)
    spec = replace(spec, subnet=str(subnet))
    chosen_from = _range(spec, subnet)
    for what, address in (("gateway", spec.gateway), *(("auxiliary address", each) for each in spec.reserved)):
        if address:
            _check_inside(what, address, subnet)
    if not spec.gateway:
        spec = replace(spec, gateway=_gateway(chosen_from, subnet, frozenset(spec.reserved)))
    return spec


def _free(taken: list[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    for candidate in _candidates():
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise InvalidArgument("all predefined address pools have been fully subnetted", "remove networks, or give a subnet")


def _candidates() -> Iterator[ipaddress.IPv4Network]:
    for pool, length in _DEFAULTS:
        yield from ipaddress.IPv4Network(pool).subnets(new_prefix=length)


def _range(spec: NetworkSpec, subnet: ipaddress.IPv4Network) -> ipaddress.IPv4Network:
    if not spec.ip_range:
        return subnet
    chosen_from = parse_subnet(spec.ip_range, "ip-range")
    if not chosen_from.subnet_of(subnet):
        words = f"invalid ip-range {chosen_from}: parent subnet {subnet} doesn't contain ip-range"
        raise InvalidArgument(words)
    return chosen_from


def _check_inside(what: str, text: str, subnet: ipaddress.IPv4Network) -> None:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise InvalidArgument(f"invalid {what} {text[:50]!r}: invalid address") from None
    if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
        raise InvalidArgument(f"invalid {what} {address}: parent subnet {subnet} doesn't contain this address")


def _gateway(chosen_from: ipaddress.IPv4Network, subnet: ipaddress.IPv4Network, reserved: frozenset[str]) -> str:
    for address in chain(chosen_from, subnet):
        if address not in (subnet.network_address, subnet.broadcast_address) and str(address) not in reserved:
            return str(address)
    raise InvalidArgument(f"no address of {subnet} is left for its gateway", "reserve fewer")
