# SPDX-License-Identifier: Apache-2.0
"""Volumes: disks of their own, which containers come and go at."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.query import flag, json_fields
from hypercell.api.docker.times import rfc3339
from hypercell.api.http import Response, Route, json_response
from hypercell.base.durations import SECOND
from hypercell.base.errors import NotFound, Unsupported
from hypercell.cloud.contract import VolumeRequest, VolumeView

Json = dict[str, Any]
DRIVER = "local"
_ACCEPTED = frozenset(("dangling", "driver", "label", "name"))
_PRUNE_FILTERS = frozenset(("all", "label", "label!"))
_ONLY_ANONYMOUS = (1, 42)
"""The API's version from which on a prune leaves volumes alone that somebody has named."""
_JSON_BODY = 4 * 1024 * 1024


async def create_volume(call: Call) -> Response:
    engine, fields = call.app, await json_fields(call)
    name, driver = fields.text("Name"), fields.text("Driver", limit=256)
    request = VolumeRequest(name, fields.text_mapping("Labels"), fields.text_mapping("DriverOpts"))
    if fields.take("ClusterVolumeSpec") not in (None, {}):
        raise Unsupported("volumes of a cluster are not built yet", "there is one driver: local")
    fields.finish()
    if driver not in ("", DRIVER):
        words = f'create {name[:300]}: error looking up volume plugin {driver}: plugin "{driver}" not found'
        raise NotFound(words, "there is one driver: local")
    return json_response(volume_json(await engine.volumes.create(engine.tenant, request)), 201)


async def list_volumes(call: Call) -> Response:
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _ACCEPTED)
    unused = filters.flag("dangling", False)
    shown = [
        volume_json(view)
        for view in await engine.volumes.list(engine.tenant)
        if ("dangling" not in filters or unused is not bool(view.users))
        and filters.matches("name", view.name)
        and filters.exact("driver", DRIVER)
        and filters.labels(view.labels)
    ]
    return json_response({"Volumes": shown, "Warnings": None})


async def inspect_volume(call: Call) -> Response:
    return json_response(volume_json(await call.app.volumes.inspect(call.app.tenant, call.params["name"])))


async def remove_volume(call: Call) -> Response:
    engine = call.app
    await engine.volumes.remove(engine.tenant, call.params["name"], force=flag(call.query, "force"))
    return Response(204)


async def prune_volumes(call: Call) -> Response:
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _PRUNE_FILTERS)
    everything = call.version < _ONLY_ANONYMOUS or filters.flag("all", False)

    def wanted(view: VolumeView) -> bool:
        # Those made with options dockerd leaves alone too.
        return (everything or view.anonymous) and not view.options and filters.keeps_labels(view.labels)

    removed, freed = await engine.volumes.prune(engine.tenant, wanted)
    return json_response({"VolumesDeleted": removed, "SpaceReclaimed": freed})


def volume_json(view: VolumeView) -> Json:
    document: Json = {
        "CreatedAt": rfc3339(view.created_ns // SECOND * SECOND),
        "Driver": DRIVER,
        "Labels": dict(view.labels) or None,
        "Mountpoint": "",
        "Name": view.name,
        "Options": dict(view.options) or None,
        "Scope": "local",
    }
    if view.used is not None:
        document["UsageData"] = {"RefCount": len(view.users), "Size": view.used}
    return document


ROUTES: list[Route[Engine]] = [
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create_volume, max_body=_JSON_BODY),
    Route("POST", "/volumes/prune", prune_volumes),
    Route("GET", "/volumes/{name}", inspect_volume),
    Route("DELETE", "/volumes/{name}", remove_volume),
]
