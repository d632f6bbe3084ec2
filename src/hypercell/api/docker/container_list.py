# SPDX-License-Identifier: Apache-2.0
"""`GET /containers/json`: the list, its filters, and a container as it stands there."""

from __future__ import annotations

import time
from typing import Any

from hypercell.api.docker.container_view import endpoints_json, is_alive, mounts_json, network_mode
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.query import flag, number
from hypercell.api.docker.times import human_duration
from hypercell.api.http import Response, encode
from hypercell.base.digits import is_digits
from hypercell.base.durations import SECOND
from hypercell.base.errors import HypercellError, InvalidArgument, NotFound
from hypercell.cloud.contract import ContainerView, HealthStatus, Status
from hypercell.images import reference

Json = dict[str, Any]
_ACCEPTED = frozenset(
    """ancestor before exited expose health id is-task isolation label name network publish since status volume
    """.split()  # noqa: SIM905
)
_STATES = frozenset(str(status) for status in Status)
_ANNOTATED = (1, 46)
"""The API's version from which on a summary has annotations."""
_HEALTH = frozenset(("none", *HealthStatus))


async def list_containers(call: Call) -> Response:
    engine, query = call.app, call.query
    filters = Filters.parse(query.get("filters"), _ACCEPTED)
    _check(filters)
    limit = max(number(query, "limit") or 0, 0)
    everything = flag(query, "all") or limit > 0 or "status" in filters
    size = flag(query, "size")
    before, since = query.get("before"), query.get("since")
    # What these name need not be among those that are shown.
    relative = bool(before or since or "before" in filters or "since" in filters)
    views = await engine.containers.list(engine.tenant, all=everything or relative, size=size)
    views = _between(views, filters, before, since)
    images = await _ImageNames.load(engine) if views else _ImageNames({})
    ancestors = await _ancestors(engine, filters)
    chosen = [
        view
        for view in views
        if (everything or is_alive(view))
        and (not filters or _passes(view, filters))
        and (ancestors is None or view.image_id in ancestors)
    ]
    shown = chosen[:limit] if limit else chosen
    now = time.time_ns()
    texts = [_text(view, images.name(view), call.version, size, now) for view in shown]
    return Response(200, b"[" + b",".join(texts) + b"]\n", "application/json")


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


def ports_json(view: ContainerView) -> list[Json]:
    if not is_alive(view):
        return []
    published = [
        {"IP": p.host_ip, "PrivatePort": p.container_port, "PublicPort": p.host_port, "Type": p.protocol}
        for p in view.port.published
    ]
    taken = {(port["PrivatePort"], port["Type"]) for port in published}
    exposed = [(int(number), protocol) for number, _, protocol in (p.partition("/") for p in view.request.exposed)]
    only_exposed = [{"PrivatePort": n, "Type": protocol} for n, protocol in exposed if (n, protocol) not in taken]
    return [*published, *only_exposed]


class _ImageNames:
    """Shows the name by which a container's image was asked for while it still means that image, else the id."""

    def __init__(self, ids: dict[str, str]) -> None:
        self._ids = ids
        self._names: dict[tuple[str, str], str] = {}
        """By what was asked for, and what it was then: many containers are of few images."""

    @classmethod
    async def load(cls, engine: Engine) -> _ImageNames:
        images = await engine.images.list(engine.tenant)
        return cls({name: image.id for image in images for name in (*image.tags, *image.digests)})

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


def _check(filters: Filters) -> None:
    for value in filters.get("status"):
        if value not in _STATES:
            known = ", ".join(f'"{state}"' for state in Status)
            raise InvalidArgument(
                f"invalid filter 'status={value}': invalid value for state ({value}): must be one of {known}"
            )
    for value in filters.get("health"):
        if value not in _HEALTH:
            raise InvalidArgument(f"invalid filter 'health={value}'")
    for value in filters.get("exited"):
        if not is_digits(value.removeprefix("-")):
            raise InvalidArgument(f"invalid filter 'exited={value}'")
    filters.flag("is-task", False)


def _between(views: list[ContainerView], filters: Filters, before: str, since: str) -> list[ContainerView]:
    """Those older than `before` and newer than `since` (the list is newest first)."""
    for ref in [before, *filters.get("before")]:
        if ref:
            views = views[_position(views, ref) + 1 :]
    for ref in [since, *filters.get("since")]:
        if ref:
            views = views[: _position(views, ref)]
    return views


def _position(views: list[ContainerView], ref: str) -> int:
    for index, view in enumerate(views):
        if ref.removeprefix("/") == view.name or view.id.startswith(ref):
            return index
    raise NotFound(f"No such container: {ref}")


async def _ancestors(engine: Engine, filters: Filters) -> set[str] | None:
    if "ancestor" not in filters:
        return None
    found = set()
    for name in filters.get("ancestor"):
        try:
            found.add((await engine.images.get(engine.tenant, name)).id)
        except HypercellError:
            continue
    return found


def _passes(view: ContainerView, filters: Filters) -> bool:
    if not filters.matches("name", view.name, f"/{view.name}") or not filters.prefixed("id", view.id):
        return False
    if not filters.labels(view.request.labels) or not filters.exact("status", str(view.state.status)):
        return False
    health = view.state.health
    if not filters.exact("health", "none" if health is None else str(health.status)):
        return False
    if not filters.exact("volume", *(place for mount in view.mounts for place in (mount.name, mount.target))):
        return False
    if filters.flag("is-task", False):
        return False
    if "exited" in filters:
        ended = not is_alive(view) and view.state.started_ns > 0
        if not ended or not filters.exact("exited", str(view.state.exit_code)):
            return False
    if not filters.prefixed("network", *(text for place in view.port.places for text in (place.name, place.network))):
        return False
    return _has_ports(view, filters)


def _has_ports(view: ContainerView, filters: Filters) -> bool:
    """docker's: any of the `publish` or `expose` filters is enough."""
    if "publish" not in filters and "expose" not in filters:
        return True
    published = {f"{port['PublicPort']}/{port['Type']}" for port in ports_json(view) if "PublicPort" in port}
    exposed = {f"{port['PrivatePort']}/{port['Type']}" for port in ports_json(view)}
    return bool(published & _port_set(filters, "publish") or exposed & _port_set(filters, "expose"))


def _port_set(filters: Filters, key: str) -> set[str]:
    ports: set[str] = set()
    for value in filters.get(key):
        numbers, _, protocol = value.partition("/")
        low, _, high = numbers.partition("-")
        high = high or low
        if not (is_digits(low) and is_digits(high)) or not int(low) <= int(high) < 65536:
            raise InvalidArgument(f"error while looking up for {key} {value[:100]}: invalid port")
        ports |= {f"{port}/{protocol or 'tcp'}" for port in range(int(low), int(high) + 1)}
    return ports
