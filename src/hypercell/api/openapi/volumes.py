# SPDX-License-Identifier: Apache-2.0
"""Volumes."""

from __future__ import annotations

from hypercell.api.openapi.operation import NO_CONTENT, Descriptions, Operation, filters, flag, json
from hypercell.api.openapi.schema import INTEGER, TEXTS, listed, maybe, named, record

OPERATIONS: Descriptions = {
    "GET /volumes": Operation(
        "List volumes",
        {200: json(record({"Volumes": listed(named("Volume")), "Warnings": maybe(TEXTS)}))},
        query=(filters("dangling", "driver", "label", "name"),),
    ),
    "POST /volumes/create": Operation(
        "Create a volume",
        {201: json(named("Volume"))},
        (404, 409, 500, 501),
        body=json(named("VolumeRequest"), required=True),
    ),
    "GET /volumes/{name}": Operation("Inspect a volume", {200: json(named("Volume"))}, (404,)),
    "DELETE /volumes/{name}": Operation(
        "Remove a volume", {204: NO_CONTENT}, (404, 409, 500), (flag("force", "though there is none"),)
    ),
    "POST /volumes/prune": Operation(
        "Remove the volumes that no container uses",
        {200: json(record({"VolumesDeleted": maybe(TEXTS), "SpaceReclaimed": INTEGER}))},
        (409,),
        query=(filters("all", "label", "label!"),),
    ),
}
