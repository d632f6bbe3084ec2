# SPDX-License-Identifier: Apache-2.0
"""Networks: the built-in `bridge` and `none`, and those of one's own."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.container_view import is_alive
from hypercell.api.docker.containers import prune_until
from hypercell.api.docker.create.networking import parse_endpoint
from hypercell.api.docker.documents import Fields
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.network_create import parse_network
from hypercell.api.docker.query import flag, json_fields
from hypercell.api.docker.times import rfc3339
from hypercell.api.http import Response, Route, json_response
from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.cloud.contract import ContainerView
from hypercell.cloud.contract_networks import NetworkRecord
from hypercell.node.network import BRIDGE, NONE

Json = dict[str, Any]
_ACCEPTED = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))
_PRUNE_FILTERS = frozenset(("label", "label!", "until"))
_BODY = 1024 * 1024


async def list_networks(call: Call) -> Response:
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _ACCEPTED)
    for value in filters.get("type"):
        if value not in ("builtin", "custom"):
            raise InvalidArgument(f"invalid filter: 'type'='{value[:40]}'")
    records = [record for record in engine.networks.list(engine.tenant) if _passes(record, filters)]
    if "dangling" in filters:
        wanted = filters.flag("dangling", False)
        views = await engine.containers.list(engine.tenant, all=True)
        used = {place.network for view in views for place in view.port.places}
        # A built-in one is nobody's own, so never "unused".
        records = [record for record in records if (not record.built_in and record.id not in used) is wanted]
    return json_response([network_json(engine, record) for record in records])


def _passes(record: NetworkRecord, filters: Filters) -> bool:
    return (
        filters.matches("name", record.spec.name)
        and filters.matches("id", record.id)
        and filters.exact("driver", _driver(record))
        and filters.exact("scope", "local")
        and filters.exact("type", "builtin" if record.built_in else "custom")
        and filters.labels(record.spec.door.get("Labels", {}))
    )


def _driver(record: NetworkRecord) -> str:
    return "null" if record.id == NONE else "bridge"


async def inspect_network(call: Call) -> Response:
    engine, ref = call.app, call.params["name"]
    if call.query.get("scope") not in ("", "local"):
        raise NotFound(f"network {ref[:100]} not found")
    record = engine.networks.find(engine.tenant, ref)
    document = network_json(engine, record)
    document["Containers"] = _members(record, await engine.containers.list(engine.tenant))
    if flag(call.query, "verbose"):
        document["Services"] = {}
    return json_response(document)


def network_json(engine: Engine, record: NetworkRecord) -> Json:
    spec, door = record.spec, record.spec.door
    config = None
    if record.id != NONE:
        config = [door.get("IPAM") or {"Subnet": spec.subnet, "Gateway": spec.gateway}]
    return {
        "Name": spec.name,
        "Id": record.id,
        "Created": rfc3339(record.created_ns or engine.facts.started_ns),
        "Scope": "local",
        "Driver": _driver(record),
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": config},
        "Internal": spec.internal,
        "Attachable": door.get("Attachable", False),
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": _default_options(record) if record.id == BRIDGE else door.get("Options", {}),
        "Labels": door.get("Labels", {}),
    }


def _default_options(record: NetworkRecord) -> Json:
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104
        "com.docker.network.bridge.name": record.bridge,
        "com.docker.network.driver.mtu": str(record.spec.mtu),
    }


def _members(record: NetworkRecord, views: list[ContainerView]) -> Json:
    return {
        view.id: {
            "Name": view.name,
            "EndpointID": view.port.id,
            "MacAddress": place.mac if place.address else "",
            "IPv4Address": place.address,
            "IPv6Address": "",
        }
        for view in views
        if is_alive(view) and (place := view.port.on(record.id)) is not None
    }


async def create_network(call: Call) -> Response:
    engine = call.app
    spec = parse_network(await json_fields(call))
    record = await engine.networks.create(engine.tenant, spec)
    return json_response({"Id": record.id, "Warning": ""}, 201)


async def remove_network(call: Call) -> Response:
    await call.app.networks.remove(call.app.tenant, call.params["name"])
    return Response(204)


async def connect_container(call: Call) -> Response:
    engine, fields = call.app, await json_fields(call)
    container = fields.text("Container", limit=300)
    endpoint = fields.object("EndpointConfig") or Fields({}, "EndpointConfig")
    fields.finish()
    ref = call.params["name"]
    await engine.networks.connect(engine.tenant, ref, container, parse_endpoint(endpoint, ref))
    return Response(200)


async def disconnect_container(call: Call) -> Response:
    engine, fields = call.app, await json_fields(call)
    container = fields.text("Container", limit=300)
    fields.flag("Force")  # there is nothing that would hold it
    fields.finish()
    await engine.networks.disconnect(engine.tenant, call.params["name"], container)
    return Response(200)


async def prune_networks(call: Call) -> Response:
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _PRUNE_FILTERS)
    until = prune_until(filters)

    def keep(record: NetworkRecord) -> bool:
        recent = bool(until and record.created_ns > until)
        return recent or not filters.keeps_labels(record.spec.door.get("Labels", {}))

    removed = await engine.networks.prune(engine.tenant, keep)
    return json_response({"NetworksDeleted": removed or None})


ROUTES: list[Route[Engine]] = [
    Route("GET", "/networks", list_networks),
    Route("GET", "/networks/", list_networks),
    Route("POST", "/networks/create", create_network, max_body=_BODY),
    Route("POST", "/networks/prune", prune_networks),
    Route("GET", "/networks/{name}", inspect_network),
    Route("DELETE", "/networks/{name}", remove_network),
    Route("POST", "/networks/{name}/connect", connect_container, max_body=_BODY),
    Route("POST", "/networks/{name}/disconnect", disconnect_container, max_body=_BODY),
]
