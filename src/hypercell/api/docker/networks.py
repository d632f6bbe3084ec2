# SPDX-License-Identifier: Apache-2.0
"""The built-in networks `bridge` and `none`; networks of one's own are not built yet."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.container_view import is_alive
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.network_ids import NETWORK_IDS
from hypercell.api.docker.query import flag
from hypercell.api.docker.times import rfc3339
from hypercell.api.http import Response, Route, json_response
from hypercell.base.errors import InvalidArgument, NotFound

Json = dict[str, Any]
_ACCEPTED = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))
_PRUNE_FILTERS = frozenset(("label", "label!", "until"))
_DRIVERS = {"bridge": "bridge", "none": "null"}


async def list_networks(call: Call) -> Response:
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _ACCEPTED)
    for value in filters.get("type"):
        if value not in ("builtin", "custom"):
            raise InvalidArgument(f"invalid filter: 'type'='{value[:40]}'")
    shown = []
    for name, network_id in NETWORK_IDS.items():
        if not (filters.matches("name", name) and filters.matches("id", network_id)):
            continue
        if not (filters.exact("driver", _DRIVERS[name]) and filters.exact("scope", "local")):
            continue
        # Neither is anybody's own, so neither is ever "unused", and neither has labels.
        if filters.get("label") or filters.flag("dangling", False) or not filters.exact("type", "builtin"):
            continue
        shown.append(await network_json(engine, name))
    return json_response(shown)


async def inspect_network(call: Call) -> Response:
    engine, ref = call.app, call.params["name"]
    scope = call.query.get("scope")
    matching = [n for n, i in NETWORK_IDS.items() if n == ref] or [
        n for n, i in NETWORK_IDS.items() if i.startswith(ref)
    ]
    if scope not in ("", "local") or not matching:
        raise NotFound(f"network {ref[:100]} not found")
    if len(matching) > 1:
        raise InvalidArgument(f"network {ref} is ambiguous ({len(matching)} matches found on name)")
    document = await network_json(engine, matching[0])
    document["Containers"] = await _members(engine, matching[0])
    if flag(call.query, "verbose"):
        document["Services"] = {}
    return json_response(document)


async def network_json(engine: Engine, name: str) -> Json:
    described = await engine.network.describe(name)
    config = {"Subnet": described.get("subnet", ""), "Gateway": described.get("gateway", "")}
    options = {}
    if name == "bridge":
        options = {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104
            "com.docker.network.bridge.name": described.get("bridge", ""),
            "com.docker.network.driver.mtu": described.get("mtu", "1500"),
        }
    return {
        "Name": name,
        "Id": NETWORK_IDS[name],
        "Created": rfc3339(engine.facts.started_ns),
        "Scope": "local",
        "Driver": _DRIVERS[name],
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": [config] if name == "bridge" else None},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": options,
        "Labels": {},
    }


async def _members(engine: Engine, name: str) -> Json:
    views = await engine.containers.list(engine.tenant)
    return {
        view.id: {
            "Name": view.name,
            "EndpointID": view.port.id,
            "MacAddress": view.port.mac if view.port.address else "",
            "IPv4Address": view.port.address,
            "IPv6Address": "",
        }
        for view in views
        if view.port.network == name and is_alive(view)
    }


async def prune_networks(call: Call) -> Response:
    Filters.parse(call.query.get("filters"), _PRUNE_FILTERS)
    return json_response({"NetworksDeleted": None})


ROUTES: list[Route[Engine]] = [
    Route("GET", "/networks", list_networks),
    Route("GET", "/networks/", list_networks),
    Route("POST", "/networks/prune", prune_networks),
    Route("GET", "/networks/{name}", inspect_network),
]
