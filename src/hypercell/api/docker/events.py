# SPDX-License-Identifier: Apache-2.0
"""`GET /events`: JSON objects, one a line, as things happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from hypercell.api.docker.engine import Call
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.query import timestamp
from hypercell.api.http import StreamResponse, Version, encode
from hypercell.base.durations import SECOND
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import Event

_TYPES = (
    "builder",
    "config",
    "container",
    "daemon",
    "image",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
)
_ACCEPTED = frozenset((*_TYPES, "event", "label", "scope", "type"))
_WITH_DETAIL = ("exec_create", "exec_start", "exec_die", "health_status")
"""Actions that carry more behind a colon; a filter names them without."""


async def stream_events(call: Call) -> StreamResponse:
    engine, query = call.app, call.query
    since, until = timestamp(query, "since"), timestamp(query, "until")
    if until and until < since:
        raise InvalidArgument(
            f"`since` time ({query.get('since')[:40]}) cannot be after `until` time ({query.get('until')[:40]})"
        )
    filters = Filters.parse(query.get("filters"), _ACCEPTED)
    # Subscribed before the head of the answer goes out: a client that has it misses nothing from then on.
    events = engine.events.subscribe(engine.tenant, since, until)
    return StreamResponse(_lines(events, filters, call.version), content_type="application/json")


async def _lines(events: AsyncIterator[Event], filters: Filters, version: Version) -> AsyncIterator[bytes]:
    async for event in events:
        if event.type == "image" and event.action == "create" and version < (1, 46):
            continue
        if included(event, filters):
            yield encode(event_json(event))


def included(event: Event, filters: Filters) -> bool:
    if not filters.exact("type", event.type) or not filters.exact("scope", "local"):
        return False
    if not _has_action(event, filters) or not filters.labels(event.attributes):
        return False
    name = event.attributes.get("name", "")
    if not _is_of_image(event, filters):
        return False
    # As dockerd: a filter by object looks at id and name whatever the event's type.
    return all(filters.prefixed(kind, event.actor, name) for kind in _TYPES if kind not in ("builder", "image"))


def _has_action(event: Event, filters: Filters) -> bool:
    if any(value in _WITH_DETAIL for value in filters.get("event")):
        return filters.prefixed("event", event.action)
    return filters.exact("event", event.action)


def _is_of_image(event: Event, filters: Filters) -> bool:
    """By id or name, with or without tag; events of containers made from it included."""
    name = event.attributes.get("name" if event.type == "image" else "image", "")
    repository = name if name.rfind(":") <= name.rfind("/") else name.rpartition(":")[0]
    return filters.exact("image", event.actor, name, repository.partition("@")[0])


def event_json(event: Event) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if event.type in ("container", "image"):
        document = {"status": event.action, "id": event.actor}
    if event.type == "container" and "image" in event.attributes:
        document["from"] = event.attributes["image"]
    return document | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time_ns // SECOND,
        "timeNano": event.time_ns,
    }
