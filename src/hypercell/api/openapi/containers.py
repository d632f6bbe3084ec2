# SPDX-License-Identifier: Apache-2.0
"""Containers and execs: what is asked of them and told about them. What streams is in `streams`."""

from __future__ import annotations

from hypercell.api.openapi.operation import (
    NO_CONTENT,
    Content,
    Descriptions,
    Operation,
    filters,
    flag,
    integer,
    json,
    text,
    texts,
)
from hypercell.api.openapi.schema import INTEGER, TEXT, TEXTS, listed, maybe, named, record

_SIGNAL = text("signal", "name or number")
_PATIENCE = integer("t", "seconds until the kill")
_WINDOW = (text("h", "rows", required=True), text("w", "columns", required=True))
_DONE = {204: NO_CONTENT}
OPERATIONS: Descriptions = {
    "GET /containers/json": Operation(
        "List containers",
        {200: json(listed(named("ContainerSummary")))},
        (404,),
        (
            flag("all", "those that do not run too"),
            integer("limit"),
            flag("size"),
            filters(
                "ancestor",
                "before",
                "exited",
                "expose",
                "health",
                "id",
                "is-task",
                "isolation",
                "label",
                "name",
                "network",
                "publish",
                "since",
                "status",
                "volume",
            ),
        ),
    ),
    "POST /containers/create": Operation(
        "Create a container",
        {201: json(named("Created"))},
        (404, 409, 500, 501, 503),
        (text("name"), text("platform")),
        body=json(named("CreateRequest"), required=True),
    ),
    "POST /containers/prune": Operation(
        "Remove the containers that do not run",
        {200: json(record({"ContainersDeleted": maybe(TEXTS), "SpaceReclaimed": INTEGER}))},
        query=(filters("label", "label!", "until"),),
    ),
    "GET /containers/{name}/json": Operation(
        "Inspect a container", {200: json(named("ContainerInspection"))}, (404,), (flag("size"),)
    ),
    "POST /containers/{name}/start": Operation(
        "Start a container",
        {204: NO_CONTENT, 304: Content(about="it runs")},
        (404, 409, 500, 501, 503),
        (text("checkpoint", "refused: it is experimental in docker"),),
    ),
    "POST /containers/{name}/stop": Operation(
        "Stop a container",
        {204: NO_CONTENT, 304: Content(about="it does not run")},
        (404, 409, 500),
        (_PATIENCE, _SIGNAL),
    ),
    "POST /containers/{name}/restart": Operation(
        "Stop a container, and start it", _DONE, (404, 409, 500, 503), (_PATIENCE, _SIGNAL)
    ),
    "POST /containers/{name}/kill": Operation("Send a signal", _DONE, (404, 409, 500), (_SIGNAL,)),
    "POST /containers/{name}/pause": Operation("Pause a container", _DONE, (404, 409, 500)),
    "POST /containers/{name}/unpause": Operation("Let a paused container go on", _DONE, (404, 409, 500)),
    "POST /containers/{name}/rename": Operation(
        "Rename a container", _DONE, (404, 409), (text("name", required=True),)
    ),
    "POST /containers/{name}/update": Operation(
        "Change restart policy and limits",
        {200: json(record({"Warnings": TEXTS}))},
        (404, 409, 500, 501),
        body=json(named("UpdateRequest")),
    ),
    "POST /containers/{name}/resize": Operation(
        "Tell the size of a terminal", {200: NO_CONTENT}, (404, 409, 500), _WINDOW
    ),
    "POST /containers/{name}/wait": Operation(
        "Wait for a container's end; the head of the answer comes as soon as it is watched",
        {200: json(named("Waited"))},
        (404,),
        (text("condition", "`not-running` (usual), `next-exit` or `removed`"),),
    ),
    "GET /containers/{name}/top": Operation(
        "Its processes",
        {200: json(named("Processes"))},
        (404, 409, 500, 501),
        (text("ps_args", "of ps: `-ef`, `aux`, `-o` with columns"),),
    ),
    "GET /containers/{name}/changes": Operation(
        "What differs from its image", {200: json(named("Changes"))}, (404, 409, 500, 501, 503)
    ),
    "POST /commit": Operation(
        "Make an image of a container",
        {201: json(record({"Id": TEXT}))},
        (404, 409, 500, 501, 503),
        (
            text("container", required=True),
            text("repo", "name of the image"),
            text("tag"),
            text("comment"),
            text("author"),
            flag("pause", "nothing of it runs meanwhile; usual"),
            texts("changes", "instructions of a Dockerfile for the image's configuration"),
        ),
        body=json(named("CommitRequest"), "what the image's configuration says instead of the container's"),
    ),
    "DELETE /containers/{name}": Operation(
        "Remove a container",
        _DONE,
        (404, 409, 500),
        (
            flag("v", "its anonymous volumes too"),
            flag("force", "though it runs"),
            flag("link", "only that name of it, which is a link: there are none"),
        ),
    ),
    "POST /containers/{name}/exec": Operation(
        "Prepare to run a program in a container",
        {201: json(record({"Id": TEXT}))},
        (404, 409),
        body=json(named("ExecRequest"), required=True),
    ),
    "POST /exec/{name}/resize": Operation(
        "Tell the size of an exec's terminal", {200: NO_CONTENT}, (404, 409, 500), _WINDOW
    ),
    "GET /exec/{name}/json": Operation("Inspect an exec", {200: json(named("ExecInspection"))}, (404,)),
}
