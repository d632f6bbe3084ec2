# SPDX-License-Identifier: Apache-2.0
"""Containers: the table of their routes, and the verbs that need few words."""

from __future__ import annotations

from dataclasses import replace

from hypercell.api.docker.archive import export_container, get_archive, put_archive, stat_archive
from hypercell.api.docker.attach import attach_container, attach_websocket
from hypercell.api.docker.changes import container_changes
from hypercell.api.docker.commit import commit_container
from hypercell.api.docker.container_list import list_containers
from hypercell.api.docker.container_view import inspect_json
from hypercell.api.docker.create import parse_create
from hypercell.api.docker.create.networking import HOST_GATEWAY
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.exec import create_exec, inspect_exec, resize_exec, start_exec
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.logs import container_logs
from hypercell.api.docker.query import flag, json_body, number, window
from hypercell.api.docker.stats import container_stats
from hypercell.api.docker.times import parse_timestamp
from hypercell.api.docker.top import container_top
from hypercell.api.docker.update import update_container
from hypercell.api.docker.wait import wait_container
from hypercell.api.http import UNLIMITED, Response, Route, json_response
from hypercell.base.errors import Conflict, HypercellError, InvalidArgument, NotFound
from hypercell.cloud.contract import ContainerRequest, ContainerView
from hypercell.images import platforms

_JSON_BODY = 4 * 1024 * 1024
_PRUNE_FILTERS = frozenset(("label", "label!", "until"))


async def create_container(call: Call) -> Response:
    engine = call.app
    parsed = parse_create(await json_body(call), call.query.get("name"))
    request = parsed.request
    if call.version < (1, 25):
        request = replace(request, auto_remove=False)  # such a client removes its containers itself
    if call.version < (1, 44) and len(request.endpoints) > 1:
        names = ", ".join(wish.network for wish in request.endpoints)
        raise InvalidArgument(f"Container cannot be created with multiple network endpoints: {names}")
    if call.version < (1, 44) and request.health is not None:
        request = replace(request, health=replace(request.health, start_interval=0))  # it means something else by that
    await _check_platform(engine, request, call.query.get("platform"))
    request = await _fill_from_image(engine, request)
    request = _fill_gateway(engine, request)
    container_id, warnings = await engine.containers.create(engine.tenant, request)
    return json_response({"Id": container_id, "Warnings": [*parsed.warnings, *warnings]}, 201)


async def _check_platform(engine: Engine, request: ContainerRequest, text: str) -> None:
    if not text:
        return
    wanted = platforms.parse(text)
    config = (await engine.images.get(engine.tenant, request.image)).config
    if platforms.normalise(config.os, config.architecture, config.variant) not in platforms.acceptable(wanted):
        raise NotFound(
            f"image with reference {request.image} was found but does not provide the specified platform ({wanted})"
        )


async def _fill_from_image(engine: Engine, request: ContainerRequest) -> ContainerRequest:
    """An entrypoint that is an empty list (not `[""]`) leaves the image's command in force, in docker."""
    if request.entrypoint is None or request.entrypoint or request.command is not None:
        return request
    if request.door["Config"].get("Entrypoint") is None:
        return request
    image = await engine.images.get(engine.tenant, request.image)
    return replace(request, command=image.config.command)


def _fill_gateway(engine: Engine, request: ContainerRequest) -> ContainerRequest:
    """`host.docker.internal:host-gateway` in the extra hosts becomes the address of this host."""
    if not any(entry.endswith(f":{HOST_GATEWAY}") for entry in request.extra_hosts):
        return request
    gateway = engine.networks.find(engine.tenant, "bridge").spec.gateway
    hosts = tuple(entry.replace(f":{HOST_GATEWAY}", f":{gateway}") for entry in request.extra_hosts)
    return replace(request, extra_hosts=hosts)


async def inspect_container(call: Call) -> Response:
    engine = call.app
    view = await engine.containers.inspect(engine.tenant, call.params["name"], size=flag(call.query, "size"))
    return json_response(inspect_json(view))


async def start_container(call: Call) -> Response:
    engine = call.app
    if call.body.length is None or call.body.length > 7:
        raise InvalidArgument(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    if call.query.get("checkpoint"):
        raise InvalidArgument("checkpoint is only supported in experimental mode")
    await engine.containers.start(engine.tenant, call.params["name"])
    return Response(204)


def _patience(call: Call) -> tuple[int | None, str]:
    """Seconds before the kill, and the signal that asks first."""
    return number(call.query, "t"), call.query.get("signal") if call.version >= (1, 42) else ""


async def stop_container(call: Call) -> Response:
    engine = call.app
    await engine.containers.stop(engine.tenant, call.params["name"], *_patience(call))
    return Response(204)


async def restart_container(call: Call) -> Response:
    engine = call.app
    await engine.containers.restart(engine.tenant, call.params["name"], *_patience(call))
    return Response(204)


async def kill_container(call: Call) -> Response:
    engine, name = call.app, call.params["name"]
    try:
        await engine.containers.kill(engine.tenant, name, call.query.get("signal") or "KILL")
    except HypercellError as error:
        error.message = f"cannot kill container: {name}: {error.message}"
        raise
    return Response(204)


async def pause_container(call: Call) -> Response:
    await call.app.containers.pause(call.app.tenant, call.params["name"])
    return Response(204)


async def unpause_container(call: Call) -> Response:
    await call.app.containers.unpause(call.app.tenant, call.params["name"])
    return Response(204)


async def rename_container(call: Call) -> Response:
    engine, name = call.app, call.query.get("name").removeprefix("/")
    if not name:
        raise InvalidArgument("Neither old nor new names may be empty")
    await engine.containers.rename(engine.tenant, call.params["name"], name)
    return Response(204)


async def remove_container(call: Call) -> Response:
    engine, query, name = call.app, call.query, call.params["name"]
    if flag(query, "link"):  # no container has another name than its own
        await engine.containers.inspect(engine.tenant, name)
        raise Conflict("Conflict, cannot remove the default link name of the container")
    await engine.containers.remove(engine.tenant, name, force=flag(query, "force"), volumes=flag(query, "v"))
    return Response(204)


async def resize_container(call: Call) -> Response:
    rows, columns = window(call.query)
    await call.app.containers.resize(call.app.tenant, call.params["name"], rows, columns)
    return Response(200)


async def prune_containers(call: Call) -> Response:
    engine = call.app
    filters = Filters.parse(call.query.get("filters"), _PRUNE_FILTERS)
    until = prune_until(filters)

    def keep(view: ContainerView) -> bool:
        return bool(until and view.created_ns > until) or not filters.keeps_labels(view.request.labels)

    removed, freed = await engine.containers.prune(engine.tenant, keep)
    return json_response({"ContainersDeleted": removed or None, "SpaceReclaimed": freed})


def prune_until(filters: Filters) -> int:
    """The `until` of a prune's filters in nanoseconds; 0: none. Raises `InvalidArgument`."""
    values = filters.get("until")
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    return parse_timestamp(values[0], "until") if values else 0


ROUTES: list[Route[Engine]] = [
    Route("GET", "/containers/json", list_containers),
    Route("POST", "/containers/create", create_container, max_body=_JSON_BODY),
    Route("POST", "/containers/prune", prune_containers),
    Route("GET", "/containers/{name}/json", inspect_container),
    Route("POST", "/containers/{name}/start", start_container, until_gone=True),
    Route("POST", "/containers/{name}/stop", stop_container),
    Route("POST", "/containers/{name}/restart", restart_container),
    Route("POST", "/containers/{name}/kill", kill_container),
    Route("POST", "/containers/{name}/pause", pause_container),
    Route("POST", "/containers/{name}/unpause", unpause_container),
    Route("POST", "/containers/{name}/rename", rename_container),
    Route("POST", "/containers/{name}/update", update_container, max_body=_JSON_BODY),
    Route("POST", "/containers/{name}/resize", resize_container),
    Route("POST", "/containers/{name}/wait", wait_container, until_gone=True),
    Route("GET", "/containers/{name}/logs", container_logs, until_gone=True),
    Route("POST", "/containers/{name}/attach", attach_container),
    Route("GET", "/containers/{name}/attach/ws", attach_websocket),
    Route("GET", "/containers/{name}/top", container_top),
    Route("GET", "/containers/{name}/stats", container_stats, until_gone=True),
    Route("HEAD", "/containers/{name}/archive", stat_archive, until_gone=True),
    Route("GET", "/containers/{name}/archive", get_archive, until_gone=True),
    Route("POST", "/commit", commit_container, max_body=_JSON_BODY, until_gone=True),
    Route("PUT", "/containers/{name}/archive", put_archive, max_body=UNLIMITED),
    Route("GET", "/containers/{name}/changes", container_changes, until_gone=True),
    Route("GET", "/containers/{name}/export", export_container, until_gone=True),
    Route("POST", "/containers/{name}/exec", create_exec, max_body=_JSON_BODY),
    Route("POST", "/exec/{name}/start", start_exec, max_body=_JSON_BODY),
    Route("POST", "/exec/{name}/resize", resize_exec),
    Route("GET", "/exec/{name}/json", inspect_exec),
    Route("DELETE", "/containers/{name}", remove_container),
]
