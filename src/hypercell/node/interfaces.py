# SPDX-License-Identifier: Apache-2.0
"""What a guest is told of its network: `interfaces` of the agent's `configure` and `network.update`."""

from __future__ import annotations

from typing import Any

from hypercell.node.network import Port

Json = dict[str, Any]


def interfaces(port: Port, device_mac: str) -> list[Json]:
    """One card, by the address that it was made with, with an address on each of its networks. Without any it stays
    what it is, and speaks to nobody."""
    place = port.main
    if place is None:
        return [{"device_mac": device_mac, "mac": device_mac, "name": "eth0", "addresses": []}]
    mtu = min(each.mtu for each in port.places)
    interface: Json = {"device_mac": device_mac, "mac": place.mac, "name": "eth0", "mtu": mtu}
    if place.address:
        others = [each.address for each in port.places if each is not place]
        interface |= {"addresses": [place.address, *others], "gateway": place.gateway}
    return [interface]
