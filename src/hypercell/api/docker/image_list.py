# SPDX-License-Identifier: Apache-2.0
"""`GET /images/json` and its filters."""

from __future__ import annotations

from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.image_view import is_step, shared_sizes, summary_json
from hypercell.api.docker.patterns import Pattern
from hypercell.api.docker.query import flag
from hypercell.api.docker.times import parse_timestamp
from hypercell.api.http import Response, json_response
from hypercell.base.errors import InvalidArgument
from hypercell.images.contract import Image

_ACCEPTED = frozenset(("before", "dangling", "label", "reference", "since", "until"))


async def list_images(call: Call) -> Response:
    """`manifests` adds nothing: as in dockerd's store of graph drivers, an image is one platform's."""
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _ACCEPTED)
    patterns = [reference_pattern(value) for value in filters.get("reference")]
    if call.version < (1, 41) and call.query.get("filter"):
        patterns.append(reference_pattern(call.query.get("filter")))
    oldest, newest = await _window(engine, filters)
    everything = flag(call.query, "all")
    dangling = filters.flag("dangling", False)
    shown = []
    images = await engine.images.list(engine.tenant)
    shared = shared_sizes(images) if call.version >= (1, 42) and flag(call.query, "shared-size") else {}
    for image in sorted(images, key=lambda image: -image.created_ns):
        if not oldest < image.created_ns < newest or not filters.labels(image.config.labels):
            continue
        if "dangling" in filters and dangling != image.dangling:
            continue
        if not everything and is_step(image):
            continue
        if patterns and not any(_named(image, pattern) for pattern in patterns):
            continue
        users = len(engine.images.in_use(image.id))
        shown.append(summary_json(image, call.version, users, shared.get(image.id, -1)))
    return json_response(shown)


async def _window(engine: Engine, filters: Filters) -> tuple[int, int]:
    """Creation times between which (exclusive) an image must lie."""
    oldest, newest = -(1 << 80), 1 << 80
    for name in filters.get("since"):
        oldest = max(oldest, (await engine.images.get(engine.tenant, name)).created_ns)
    for name in filters.get("before"):
        newest = min(newest, (await engine.images.get(engine.tenant, name)).created_ns)
    for value in filters.get("until"):
        newest = min(newest, parse_timestamp(value, "until"))
    return oldest, newest


def _named(image: Image, pattern: Pattern) -> bool:
    for name in (*image.tags, *image.digests):
        repository = name.partition("@")[0]
        if name in image.tags:
            repository = name.rpartition(":")[0]
        if pattern.search(name) or pattern.search(repository):
            return True
    return False


def reference_pattern(glob: str) -> Pattern:
    """A shell pattern as Go's path.Match reads it (`*` and `?` stop at a slash)."""
    out, at = "^", 0
    while at < len(glob):
        character = glob[at]
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[":
            end = glob.find("]", at + 2)
            if end < 0:
                raise InvalidArgument(f"invalid filter 'reference={glob[:100]}': syntax error in pattern")
            out += glob[at : end + 1]
            at = end
        else:
            out += character if character.isalnum() or character in "_-" else f"\\{character}"
        at += 1
    try:
        return Pattern(f"{out}$")
    except ValueError as error:
        raise InvalidArgument(f"invalid filter 'reference={glob[:100]}': {error}") from None
