# SPDX-License-Identifier: Apache-2.0
"""Networks."""

from __future__ import annotations

from hypercell.api.openapi.operation import NO_CONTENT, Descriptions, Operation, filters, flag, json, text
from hypercell.api.openapi.schema import FLAG, TEXT, TEXTS, listed, maybe, named, record, wished

_LIST = Operation(
    "List networks",
    {200: json(listed(named("Network")))},
    query=(filters("dangling", "driver", "id", "label", "name", "scope", "type"),),
)
_MEMBER = {"Container": TEXT}
OPERATIONS: Descriptions = {
    "GET /networks": _LIST,
    "GET /networks/": _LIST,
    "GET /networks/{name}": Operation(
        "Inspect a network", {200: json(named("Network"))}, (404,), (flag("verbose"), text("scope"))
    ),
    "POST /networks/create": Operation(
        "Create a network",
        {201: json(record({"Id": TEXT, "Warning": TEXT}))},
        (404, 409, 500, 501),
        body=json(named("NetworkRequest"), required=True),
    ),
    "POST /networks/{name}/connect": Operation(
        "Connect a container to a network",
        {200: NO_CONTENT},
        (404, 409, 500, 501),
        body=json(wished(record({**_MEMBER, "EndpointConfig": {"type": "object"}})), required=True),
    ),
    "POST /networks/{name}/disconnect": Operation(
        "Disconnect a container from a network",
        {200: NO_CONTENT},
        (404, 409, 500, 501),
        body=json(wished(record({**_MEMBER, "Force": FLAG})), required=True),
    ),
    "DELETE /networks/{name}": Operation("Remove a network", {204: NO_CONTENT}, (404, 409, 500, 501)),
    "POST /networks/prune": Operation(
        "Remove the networks that no container is on",
        {200: json(record({"NetworksDeleted": maybe(TEXTS)}))},
        query=(filters("label", "label!", "until"),),
    ),
}
