# SPDX-License-Identifier: Apache-2.0
"""`GET /containers/json`: the list, and a container as it stands there."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from hypercell.api.docker.container_filters import ContainerFilters, descendants
from hypercell.api.docker.container_view import endpoints_json, is_alive, mounts_json, network_mode, ports_json
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.query import flag, number
from hypercell.api.docker.times import human_duration
from hypercell.api.http import Response, encode
from hypercell.base.durations import SECOND
from hypercell.base.errors import HypercellError, InvalidArgument
from hypercell.cloud.contract import ContainerView, HealthStatus, Status
from hypercell.images import reference

Json = dict[str, Any]
_ACCEPTED = frozenset(
    """ancestor before exited expose health id is-task isolation label name network publish since status volume
    """.split()  # noqa: SIM905
)
_ANNOTATED = (1, 46)
"""The API's version from which on a summary has annotations."""


async def list_containers(call: Call) -> Response:
    engine, query = call.app, call.query
    given = Filters.parse(query.get("filters"), _ACCEPTED)
    filters = ContainerFilters(given)
    limit = max(number(query, "limit") or 0, 0)
    everything = flag(query, "all") or limit > 0 or filters.of_states
    size = flag(query, "size")
    views = await engine.containers.list(engine.tenant, all=everything or filters.among_all, size=size)
    images = await engine.images.list(engine.tenant) if views else []
    names = _ImageNames({name: image.id for image in images for name in (*image.tags, *image.digests)})
    made_of = descendants(images, await _meant(engine, given.get("ancestor")))
    chosen = [view for view in filters.chosen(views, made_of) if everything or is_alive(view)]
    shown = chosen[:limit] if limit else chosen
    now = time.time_ns()
    texts = [_text(view, names.name(view), call.version, size, now) for view in shown]
    return Response(200, b"[" + b",".join(texts) + b"]\n", "application/json")


async def _meant(engine: Engine, names: list[str]) -> set[str]:
    """The ids of the images of these *names*; what means none is left out."""
    found = set()
    for name in names:
        with suppress(HypercellError):
            found.add((await engine.images.get(engine.tenant, name)).id)
    return found


def _text(view: ContainerView, image: str, version: tuple[int, ...], size: bool, now_ns: int) -> bytes:
    """Its summary as JSON. In lists of thousands hardly one has changed since the last; but its status tells a time."""
    key = (image, version >= _ANNOTATED, size)
    halves = view.shown.get(key)
    if halves is None:
        document = summary_json(view, image, version, size)
        names = list(document)
        at = names.index("Status")
        first, last = ({name: document[name] for name in part} for part in (names[:at], names[at + 1 :]))
        halves = view.shown[key] = (_json(first)[:-1] + b',"Status":', b"," + _json(last)[1:])
    return halves[0] + _json(status_text(view, now_ns)) + halves[1]


def _json(value: Any) -> bytes:
    return encode(value).rstrip(b"\n")


def summary_json(view: ContainerView, image: str, version: tuple[int, ...], size: bool) -> Json:
    host: Json = {"NetworkMode": network_mode(view.request)}
    annotations = view.request.door.get("HostConfig", {}).get("Annotations")
    if annotations and version >= _ANNOTATED:
        host["Annotations"] = annotations
    document: Json = {
        "Id": view.id,
        "Names": [f"/{view.name}"],
        "Image": image,
        "ImageID": view.image_id,
        "Command": " ".join(f"'{arg}'" if " " in arg and index else arg for index, arg in enumerate(view.args)),
        "Created": view.created_ns // SECOND,
        "Ports": ports_json(view),
        "Labels": dict(view.request.labels),
        "State": str(view.state.status),
        "Status": status_text(view, time.time_ns()),
        "HostConfig": host,
        "NetworkSettings": {"Networks": endpoints_json(view)},
        "Mounts": mounts_json(view),
    }
    if size:
        document |= {"SizeRw": view.size_rw} if view.size_rw else {}
        document["SizeRootFs"] = view.size_root or 0
    return document


def status_text(view: ContainerView, now_ns: int) -> str:
    """`Up 2 minutes`, `Exited (137) 3 seconds ago` …"""
    state = view.state
    match state.status:
        case Status.RUNNING:
            return f"Up {human_duration(now_ns - state.started_ns)}{_health_text(view)}"
        case Status.PAUSED:
            return f"Up {human_duration(now_ns - state.started_ns)} (Paused)"
        case Status.RESTARTING:
            return f"Restarting ({state.exit_code}) {human_duration(now_ns - state.finished_ns)} ago"
        case Status.REMOVING:
            return "Removal In Progress"
        case Status.DEAD:
            return "Dead"
        case Status.CREATED:
            return "Created"
        case _:
            if not state.finished_ns:
                return "Created"
            return f"Exited ({state.exit_code}) {human_duration(now_ns - state.finished_ns)} ago"


def _health_text(view: ContainerView) -> str:
    health = view.state.health
    if health is None:
        return ""
    return " (health: starting)" if health.status is HealthStatus.STARTING else f" ({health.status})"


class _ImageNames:
    """Shows the name by which a container's image was asked for while it still means that image, else the id."""

    def __init__(self, ids: dict[str, str]) -> None:
        self._ids = ids
        self._names: dict[tuple[str, str], str] = {}
        """By what was asked for, and what it was then: many containers are of few images."""

    def name(self, view: ContainerView) -> str:
        known = (view.request.image, view.image_id)
        if known not in self._names:
            self._names[known] = self._name(*known)
        return self._names[known]

    def _name(self, given: str, image_id: str) -> str:
        if image_id.removeprefix("sha256:").startswith(given.removeprefix("sha256:")):
            return given
        try:
            familiar = reference.parse(given).or_latest().familiar
        except InvalidArgument:
            return image_id
        return given if self._ids.get(familiar) == image_id else image_id
