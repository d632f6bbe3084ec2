# SPDX-License-Identifier: Apache-2.0
"""Networks and volumes."""

from __future__ import annotations

from hypercell.api.openapi.schema import (
    FLAG,
    INTEGER,
    LABELS,
    TEXT,
    TEXTS,
    TIME,
    Schema,
    listed,
    mapped,
    maybe,
    record,
    wished,
)

_WISHED_ADDRESS = record({}, {"IPv4Address": TEXT, "IPv6Address": TEXT, "LinkLocalIPs": maybe(TEXTS)})
ENDPOINT = record(
    {
        "IPAMConfig": maybe(_WISHED_ADDRESS),
        "Links": maybe(TEXTS),
        "Aliases": maybe(TEXTS),
        "MacAddress": TEXT,
        "DriverOpts": maybe(LABELS),
        "GwPriority": INTEGER,
        "NetworkID": TEXT,
        "EndpointID": TEXT,
        "Gateway": TEXT,
        "IPAddress": TEXT,
        "IPPrefixLen": INTEGER,
        "IPv6Gateway": TEXT,
        "GlobalIPv6Address": TEXT,
        "GlobalIPv6PrefixLen": INTEGER,
        "DNSNames": maybe(TEXTS),
    }
)
_SUBNET = record({}, {"Subnet": TEXT, "Gateway": TEXT, "IPRange": TEXT, "AuxiliaryAddresses": maybe(LABELS)})
_IPAM = record({"Driver": TEXT, "Options": maybe(LABELS), "Config": maybe(listed(_SUBNET))})
_MEMBER = record({"Name": TEXT, "EndpointID": TEXT, "MacAddress": TEXT, "IPv4Address": TEXT, "IPv6Address": TEXT})
_CONFIG_FROM = record({"Network": TEXT})
NETWORKS: dict[str, Schema] = {
    "Network": record(
        {
            "Name": TEXT,
            "Id": TEXT,
            "Created": TIME,
            "Scope": TEXT,
            "Driver": TEXT,
            "EnableIPv4": FLAG,
            "EnableIPv6": FLAG,
            "IPAM": _IPAM,
            "Internal": FLAG,
            "Attachable": FLAG,
            "Ingress": FLAG,
            "ConfigFrom": _CONFIG_FROM,
            "ConfigOnly": FLAG,
            "Containers": mapped(_MEMBER),
            "Options": maybe(LABELS),
            "Labels": maybe(LABELS),
        },
        {"Services": {"type": "object"}},
    ),
    "NetworkRequest": {
        **wished(
            record(
                {
                    "Name": TEXT,
                    "CheckDuplicate": FLAG,
                    "Driver": TEXT,
                    "Scope": TEXT,
                    "Internal": FLAG,
                    "Attachable": FLAG,
                    "Ingress": FLAG,
                    "ConfigOnly": FLAG,
                    "ConfigFrom": wished(_CONFIG_FROM),
                    "IPAM": wished(_IPAM),
                    "EnableIPv4": FLAG,
                    "EnableIPv6": FLAG,
                    "Options": LABELS,
                    "Labels": LABELS,
                }
            )
        ),
        "required": ["Name"],
    },
    "Volume": record(
        {
            "CreatedAt": TIME,
            "Driver": TEXT,
            "Labels": maybe(LABELS),
            "Mountpoint": TEXT,
            "Name": TEXT,
            "Options": maybe(LABELS),
            "Scope": TEXT,
        },
        {"Status": {"type": "object"}, "UsageData": record({"Size": INTEGER, "RefCount": INTEGER})},
    ),
    "VolumeRequest": wished(
        record({"Name": TEXT, "Driver": TEXT, "DriverOpts": LABELS, "Labels": LABELS, "ClusterVolumeSpec": {}})
    ),
}
