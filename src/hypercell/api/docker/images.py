# SPDX-License-Identifier: Apache-2.0
"""Images: the table of their routes, and the verbs that need few words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from hypercell.api.docker.build import build_image
from hypercell.api.docker.build_prune import prune_cache
from hypercell.api.docker.containers import prune_until
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.image_events import publish
from hypercell.api.docker.image_list import list_images
from hypercell.api.docker.image_view import history_json, inspect_json
from hypercell.api.docker.platform_query import decode_platform, require_platform, wanted_platform
from hypercell.api.docker.progress import Json, with_progress
from hypercell.api.docker.pull import create_image
from hypercell.api.docker.push import push_image
from hypercell.api.docker.query import flag
from hypercell.api.http import UNLIMITED, Response, Route, StreamResponse, json_response
from hypercell.base.errors import HypercellError, InvalidArgument, Unsupported
from hypercell.images import platforms, reference
from hypercell.images.contract import Image, ProgressSink

_PRUNE_FILTERS = frozenset(("dangling", "label", "label!", "until"))


async def inspect_image(call: Call) -> Response:
    """`manifests` adds nothing: as in dockerd's store of graph drivers, an image is one platform's."""
    engine, name = call.app, call.params["name"]
    platform = wanted_platform(call, since=(1, 49))
    if platform is not None and flag(call.query, "manifests"):
        raise InvalidArgument("conflicting options: manifests and platform options cannot both be set")
    image = await engine.images.get(engine.tenant, name)
    require_platform(image, name, platform)
    return json_response(inspect_json(image, call.version))


async def image_history(call: Call) -> Response:
    engine, name = call.app, call.params["name"]
    platform = wanted_platform(call, since=(1, 48))
    image = await engine.images.get(engine.tenant, name)
    require_platform(image, name, platform)
    family = [image]
    with suppress(HypercellError):  # a parent that has gone, or cannot be read: what is older has no id then
        while family[-1].parent and len(family) < len(image.config.history):
            family.append(await engine.images.get(engine.tenant, family[-1].parent))
    return json_response(history_json(family, await engine.images.layer_sizes(engine.tenant, image.id)))


async def tag_image(call: Call) -> Response:
    engine, query = call.app, call.query
    if not query.get("repo"):
        raise InvalidArgument("invalid reference format: repo must be given")
    if reference.parse(query.get("repo")).familiar_name == "sha256":
        raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
    await engine.images.tag(engine.tenant, call.params["name"], query.get("repo"), query.get("tag"))
    image = await engine.images.get(engine.tenant, call.params["name"])
    publish(engine, "tag", f"{query.get('repo')}:{query.get('tag') or 'latest'}", image)
    return Response(201)


async def remove_image(call: Call) -> Response:
    engine, name = call.app, call.params["name"]
    if not name.strip():
        raise InvalidArgument("image name cannot be blank")
    if call.query.get("platforms"):
        raise Unsupported("removing a platform of an image is not built yet")
    removed = await engine.images.remove(
        engine.tenant, name, force=flag(call.query, "force"), prune=not flag(call.query, "noprune")
    )
    return json_response(_told(engine, removed))


def _told(engine: Engine, removed: list[tuple[str, str]]) -> list[Json]:
    for what, name in removed:
        publish(engine, "untag" if what == "untagged" else "delete", name)
    return [{"Untagged" if what == "untagged" else "Deleted": name} for what, name in removed]


async def prune_images(call: Call) -> Response:
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _PRUNE_FILTERS)
    until = prune_until(filters)
    only_dangling = filters.flag("dangling", True)

    def keep(image: Image) -> bool:
        if only_dangling and not image.dangling:
            return True
        return bool(until and image.created_ns > until) or not filters.keeps_labels(image.config.labels)

    removed, freed = await engine.images.prune(engine.tenant, keep)
    return json_response({"ImagesDeleted": _told(engine, removed) or None, "SpaceReclaimed": freed})


async def save_one(call: Call) -> StreamResponse:
    return await _save(call, [call.params["name"]])


async def save_many(call: Call) -> StreamResponse:
    names = call.query.all("names")
    if not names:
        raise InvalidArgument("no image was named", "say names=… once for each")
    return await _save(call, names)


async def _save(call: Call, names: list[str]) -> StreamResponse:
    engine = call.app
    _check_platforms(call)
    images = [await engine.images.get(engine.tenant, name) for name in names]
    content = engine.images.save(engine.tenant, names)
    for name, image in zip(names, images, strict=True):
        publish(engine, "save", name, image)
    return StreamResponse(content, content_type="application/x-tar")


async def load_images(call: Call) -> StreamResponse:
    engine = call.app
    _check_platforms(call)
    quiet = flag(call.query, "quiet", default=True)
    body = call.body.chunks()
    first = await anext(body, b"")  # also says "100 Continue" to a client that waits for it

    async def archive() -> AsyncIterator[bytes]:
        yield first
        async for chunk in body:
            yield chunk

    async def work(progress: ProgressSink) -> list[Json]:
        loaded = await engine.images.load(engine.tenant, archive(), (lambda _: None) if quiet else progress)
        for image, name in loaded:
            publish(engine, "load", name or image.id, image)
        words = [f"Loaded image: {name}" if name else f"Loaded image ID: {image.id}" for image, name in loaded]
        return [{"stream": f"{word}\n"} for word in words]

    return await with_progress(work, at_once=True)


def _check_platforms(call: Call) -> None:
    """`platform` of save and load (JSON in these): only the one that we keep."""
    for text in call.query.all("platform"):
        wanted = decode_platform(text)
        if platforms.host() != platforms.normalise(wanted.os, wanted.architecture, wanted.variant):
            raise Unsupported(f"platform {wanted} is not built yet", "images are kept for one platform")


ROUTES: list[Route[Engine]] = [
    Route("GET", "/images/json", list_images),
    Route("POST", "/build", build_image, max_body=UNLIMITED, until_gone=True),
    Route("POST", "/build/prune", prune_cache),
    Route("POST", "/images/create", create_image, max_body=UNLIMITED, until_gone=True),
    Route("POST", "/images/load", load_images, max_body=UNLIMITED, until_gone=True),
    Route("POST", "/images/prune", prune_images),
    Route("GET", "/images/get", save_many),
    Route("GET", "/images/{name}/get", save_one),
    Route("GET", "/images/{name}/json", inspect_image),
    Route("GET", "/images/{name}/history", image_history),
    Route("POST", "/images/{name}/push", push_image, until_gone=True),
    Route("POST", "/images/{name}/tag", tag_image),
    Route("DELETE", "/images/{name}", remove_image),
]
