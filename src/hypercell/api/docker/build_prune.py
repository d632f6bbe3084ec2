# SPDX-License-Identifier: Apache-2.0
"""`POST /build/prune`: which of the cached steps of builds go, and how much of them may stay."""

from __future__ import annotations

import time

from hypercell.api.docker.engine import Call
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.image_events import publish
from hypercell.api.docker.patterns import Pattern
from hypercell.api.docker.query import flag
from hypercell.api.docker.times import parse_timestamp
from hypercell.api.http import Query, Response, json_response
from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import Event
from hypercell.images.contract import CachedStep, Room

_FIELDS = frozenset(("description", "id", "inuse", "parent", "private", "shared", "type"))
_ACCEPTED = _FIELDS | {"label", "label!", "unused-for", "until"}
_KIND = "regular"
"""docker's type of what a step has made. Its other types (sources, cache mounts, …) are BuildKit's alone."""


async def prune_cache(call: Call) -> Response:
    """Without `all`, only what no image outside the cache was made of."""
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _ACCEPTED)
    room = _room(call)
    wanted = _Wanted(filters, flag(call.query, "all"))
    removed, freed = await engine.images.prune_steps(engine.tenant, wanted, room)
    deleted = [name for what, name in removed if what == "deleted"]
    for name in deleted:
        publish(engine, "delete", name)
    engine.events.publish(
        Event("builder", "prune", "", {"reclaimed": str(freed)}, time.time_ns(), engine.tenant),
    )
    return json_response({"CachesDeleted": deleted or None, "SpaceReclaimed": freed})


class _Wanted:
    """Whether a step is one of those that were asked for. Raises `InvalidArgument` for filters that make no sense."""

    def __init__(self, filters: Filters, everything: bool) -> None:
        for name in _FIELDS:
            if len(filters.get(name)) > 1:
                raise InvalidArgument("filters expect only one value")
        self._filters = filters
        self._everything = everything
        self._until = _until(filters)
        self._truths = {name: _truth(filters, name) for name in ("inuse", "private", "shared") if name in filters}
        try:
            self._ids = [Pattern(text) for text in filters.get("id")]
        except ValueError as error:
            raise InvalidArgument(f"invalid filter 'id={filters.get('id')[0][:100]}': {error}") from None

    def __call__(self, step: CachedStep) -> bool:
        if step.shared and not self._everything:
            return False
        if self._until is not None and step.used_ns > self._until:
            return False
        image, filters = step.image, self._filters
        last = image.config.history[-1] if image.config.history else {}
        return (
            all(pattern.search(image.id) for pattern in self._ids)
            and filters.exact("parent", image.parent)
            and filters.exact("type", _KIND)
            and filters.exact("description", str(last.get("created_by", "")))
            and self._truths.get("inuse", False) is False
            and self._truths.get("shared", step.shared) is step.shared
            and self._truths.get("private", not step.shared) is not step.shared
            and filters.keeps_labels(image.config.labels)
        )


def _truth(filters: Filters, name: str) -> bool:
    """A filter without a value, or with a truth value."""
    return filters.flag(name, True) if filters.get(name) else True


def _until(filters: Filters) -> int | None:
    """Steps that were used after this time stay. `unused-for` is its older name."""
    names = [name for name in ("until", "unused-for") if filters.get(name)]
    if len(names) > 1:
        raise InvalidArgument('conflicting filters: "until" and "unused-for"')
    if not names:
        return None
    values = filters.get(names[0])
    if len(values) > 1:
        raise InvalidArgument("filters expect only one value")
    try:
        return parse_timestamp(values[0], names[0])
    except InvalidArgument as error:
        words = f"\"{names[0]}\" filter expects a duration (e.g., '24h') or a timestamp"
        raise InvalidArgument(f"{words}: {error.message}") from None


def _room(call: Call) -> Room:
    """`keep-storage` is the older name of `reserved-space`."""
    query = call.query
    if call.version < (1, 48):
        return Room(reserved=_bytes(query, "keep-storage"))
    return Room(
        _bytes(query, "reserved-space") or _bytes(query, "keep-storage"),
        _bytes(query, "max-used-space"),
        _bytes(query, "min-free-space"),
    )


def _bytes(query: Query, name: str) -> int:
    text = query.get(name)
    if not text:
        return 0
    digits = text[1:] if text[0] in "+-" else text
    if not is_digits(digits) or int(digits) >= 1 << 63:
        raise InvalidArgument(f"{name} is in bytes and expects an integer, got {text[:40]}")
    return int(text)
