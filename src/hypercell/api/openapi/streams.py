# SPDX-License-Identifier: Apache-2.0
"""Containers and execs: what streams."""

from __future__ import annotations

from hypercell.api.openapi.operation import (
    NO_CONTENT,
    STREAM,
    UPGRADED,
    Descriptions,
    Operation,
    Parameter,
    flag,
    json,
    moment,
    raw,
    text,
)
from hypercell.api.openapi.schema import TEXT, named

_STAT = {"X-Docker-Container-Path-Stat": "base64 of JSON: name, size, mode, mtime, linkTarget"}
_PATH = text("path", required=True)
_TAR = "application/x-tar"
_UPGRADE = (Parameter("Upgrade", TEXT, "`tcp`: answer with 101"),)
_ATTACH = (
    text("detachKeys"),
    flag("logs", "what was said so far"),
    flag("stream", "what is said from now on"),
    flag("stdin"),
    flag("stdout"),
    flag("stderr"),
)
OPERATIONS: Descriptions = {
    "POST /containers/{name}/attach": Operation(
        "Take the connection over for a container's streams",
        {101: UPGRADED, 200: STREAM},
        (404, 409, 500, 501),
        _ATTACH,
        _UPGRADE,
    ),
    "GET /containers/{name}/attach/ws": Operation(
        "Take the connection over for a container's streams, as a WebSocket",
        {101: UPGRADED},
        (404, 409, 500, 501),
        _ATTACH,
        tuple(
            Parameter(name, TEXT, about)
            for name, about in {
                "Connection": "`Upgrade`",
                "Upgrade": "`websocket`",
                "Sec-WebSocket-Key": "16 random bytes in base64",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Protocol": "confirmed, whatever it is",
            }.items()
        ),
    ),
    "GET /containers/{name}/logs": Operation(
        "Its output so far, and as it comes",
        {200: STREAM},
        (404, 501),
        (
            flag("follow"),
            flag("stdout"),
            flag("stderr"),
            moment("since"),
            moment("until"),
            flag("timestamps"),
            text("tail", "lines, or `all`"),
            flag("details"),
        ),
    ),
    "GET /containers/{name}/stats": Operation(
        "What it uses, every second (one document a line) or once",
        {200: json(named("Stats"))},
        (404, 409, 500),
        (flag("stream"), flag("one-shot", "without the figures of a second before")),
    ),
    "HEAD /containers/{name}/archive": Operation(
        "What is at a path", {200: raw(headers=_STAT)}, (404, 409, 500, 503), (_PATH,)
    ),
    "GET /containers/{name}/archive": Operation(
        "The files at a path, as a tar", {200: raw(_TAR, headers=_STAT)}, (404, 409, 500, 503), (_PATH,)
    ),
    "PUT /containers/{name}/archive": Operation(
        "Unpack a tar at a path",
        {200: NO_CONTENT},
        (404, 409, 500, 501, 503),
        (_PATH, flag("noOverwriteDirNonDir"), flag("copyUIDGID")),
        (Parameter("Content-Encoding", TEXT, "`gzip`, `bzip2`, `xz` or `identity`"),),
        raw(_TAR, "application/octet-stream"),
    ),
    "GET /containers/{name}/export": Operation(
        "Its whole root as a tar", {200: raw("application/octet-stream")}, (404, 409, 500, 503)
    ),
    "POST /exec/{name}/start": Operation(
        "Run a prepared program, and take the connection over for its streams unless it is detached",
        {101: UPGRADED, 200: STREAM},
        (404, 409, 500),
        headers=_UPGRADE,
        body=json(named("ExecStart")),
    ),
}
