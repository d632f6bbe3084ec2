# SPDX-License-Identifier: Apache-2.0
"""The body of `POST /networks/create`: a `NetworkSpec`, or an error that names the member."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.create.networking import parse_address
from hypercell.api.docker.documents import Fields
from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument, NotFound, Unsupported
from hypercell.cloud.contract import OPERATOR_TENANT
from hypercell.cloud.contract_networks import NetworkSpec

_BRIDGE = "com.docker.network.bridge."
_MTU = "com.docker.network.driver.mtu"
_MASQUERADE = f"{_BRIDGE}enable_ip_masquerade"
_AS_IT_IS = {
    f"{_BRIDGE}enable_icc": ("true", "1"),
    f"{_BRIDGE}host_binding_ipv4": ("0.0.0.0",),  # noqa: S104 -- compared, not bound
    f"{_BRIDGE}inhibit_ipv4": ("false", "0"),
    f"{_BRIDGE}gateway_mode_ipv4": ("nat",),
    "com.docker.network.enable_ipv4": ("true", "1"),
    "com.docker.network.enable_ipv6": ("false", "0"),
}
"""Options that can be had in one way only."""
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def parse_network(fields: Fields) -> NetworkSpec:
    """Raises `InvalidArgument`, `Unsupported`, `NotFound` for a driver that there is not."""
    name, driver = fields.text("Name", limit=300), fields.text("Driver", limit=100) or "bridge"
    if driver != "bridge":
        raise NotFound(f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found')
    fields.optional_flag("CheckDuplicate")  # of old clients: a name is unique in any case
    if fields.flag("EnableIPv6"):
        raise Unsupported("EnableIPv6 is not built yet", "containers have IPv4 addresses")
    if fields.optional_flag("EnableIPv4") is False:
        raise Unsupported("EnableIPv4: false: there are no networks without IPv4")
    for key in ("Ingress", "ConfigOnly"):
        if fields.flag(key):
            raise Unsupported(f"{key}: there is no swarm")
    if (origin := fields.object("ConfigFrom")) is not None and origin.text("Network"):
        raise Unsupported("ConfigFrom: there is no swarm")
    if fields.text("Scope", limit=32) not in ("", "local"):
        raise Unsupported("Scope: one machine is one engine", "local is the only one")
    internal, attachable = fields.flag("Internal"), fields.flag("Attachable")
    options, labels = fields.text_mapping("Options"), fields.text_mapping("Labels")
    mtu, masquerade = _options(options)
    ipam = fields.object("IPAM") or Fields({}, "IPAM")
    asked = _ipam(ipam)
    fields.finish()
    return NetworkSpec(
        tenant=OPERATOR_TENANT,
        name=name,
        subnet=asked.get("Subnet", ""),
        gateway=asked.get("Gateway", ""),
        ip_range=asked.get("IPRange", ""),
        reserved=tuple(asked.get("AuxiliaryAddresses", {}).values()),
        internal=internal,
        masquerade=masquerade,
        mtu=mtu,
        door={"Options": options, "Labels": labels, "Attachable": attachable, "IPAM": asked},
    )


def _options(options: dict[str, str]) -> tuple[int, bool]:
    """MTU, and whether to masquerade."""
    for name, value in options.items():
        if name in _AS_IT_IS and value not in _AS_IT_IS[name]:
            raise Unsupported(f"the option {name}={value[:50]} is not built yet", f"{_AS_IT_IS[name][0]} is")
        if name.startswith("com.docker.network.") and name not in (*_AS_IT_IS, _MTU, _MASQUERADE):
            raise Unsupported(f"the option {name[:100]} is not built yet", "leave it out")
    mtu, truth = options.get(_MTU, "1500"), options.get(_MASQUERADE, "true").lower()
    if not is_digits(mtu):
        raise InvalidArgument(f"invalid MTU {mtu[:20]!r}", f"{_MTU}=1400")
    if truth not in _TRUTHS:
        raise InvalidArgument(f"{_MASQUERADE}: {truth[:20]!r} is not true or false")
    return int(mtu), _TRUTHS[truth]


def _ipam(ipam: Fields) -> dict[str, Any]:
    """What was asked of addresses, in docker's words."""
    if (driver := ipam.text("Driver", limit=100)) not in ("", "default"):
        raise NotFound(f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found')
    if ipam.text_mapping("Options"):
        raise Unsupported("IPAM.Options: the default driver has none")
    configs = list(ipam.objects("Config"))
    ipam.finish()
    if len(configs) > 1:
        raise Unsupported("IPAM.Config: a network has one subnet", "make two networks")
    asked: dict[str, Any] = {}
    for config in configs:
        for key in ("Subnet", "IPRange", "Gateway"):
            if value := config.text(key, limit=64):
                asked[key] = value
        # docker's own clients call it so, its documentation calls it otherwise.
        reserved = {**config.text_mapping("AuxiliaryAddresses"), **config.text_mapping("AuxAddress")}
        for name, address in reserved.items():
            parse_address(address, f"auxiliary address {name[:100]}")
        if reserved:
            asked["AuxiliaryAddresses"] = reserved
        config.finish()
    if asked and "Subnet" not in asked:
        raise InvalidArgument("IPAM.Config: a gateway or a range needs a subnet that it is of", "give a Subnet")
    return asked
