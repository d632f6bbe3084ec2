# SPDX-License-Identifier: Apache-2.0
"""Files in and out of a container (`docker cp`, `docker export`): `/containers/{id}/archive` and `/export`."""

from __future__ import annotations

import base64
import contextlib
import json
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from hypercell.api.docker.decompress import decompressed
from hypercell.api.docker.engine import Call
from hypercell.api.docker.query import flag
from hypercell.api.docker.times import rfc3339
from hypercell.api.http import Headers, Response, StreamResponse
from hypercell.base.errors import InvalidArgument, NotFound, Unsupported

# Go's os.FileMode keeps the permission bits and has bits of its own for everything else.
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}
_CHUNK = 64 * 1024


async def stat_archive(call: Call) -> Response:
    engine, name, path = call.app, call.params["name"], _path(call)
    with _file_of(name, path):
        found = await engine.containers.archive_stat(engine.tenant, name, path)
    return Response(200, headers=_stat_header(found))


async def get_archive(call: Call) -> StreamResponse:
    engine, name, path = call.app, call.params["name"], _path(call)
    with _file_of(name, path):
        found, content = await engine.containers.archive_get(engine.tenant, name, path)
    return StreamResponse(content, content_type="application/x-tar", headers=_stat_header(found))


async def export_container(call: Call) -> StreamResponse:
    engine = call.app
    content = await engine.containers.export(engine.tenant, call.params["name"])
    return StreamResponse(content, content_type="application/octet-stream")


async def put_archive(call: Call) -> Response:
    engine = call.app
    encoding = call.header("content-encoding").lower()
    if encoding not in ("", "identity", "gzip", "bzip2", "xz"):
        raise Unsupported(f"Content-Encoding {encoding[:40]!r} is not built yet", "send a tar, gzip, bzip2 or xz")
    name, path = call.params["name"], _path(call)
    if (await engine.containers.inspect(engine.tenant, name)).request.read_only:
        raise InvalidArgument("container rootfs is marked read-only")
    with _file_of(name, path):
        await engine.containers.archive_put(
            engine.tenant,
            name,
            path,
            _tar(call),
            no_overwrite_dir_non_dir=flag(call.query, "noOverwriteDirNonDir"),
            copy_uid_gid=flag(call.query, "copyUIDGID"),
        )
    return Response(200)


@contextlib.contextmanager
def _file_of(container: str, path: str) -> Iterator[None]:
    """A path that is not there is told in docker's words, by which its CLI knows a destination that is to be made."""
    try:
        yield
    except NotFound as error:
        if error.message.startswith("No such container"):
            raise
        raise NotFound(f"Could not find the file {path} in container {container}") from error


async def _tar(call: Call) -> AsyncIterator[bytes]:
    async for chunk in decompressed(call.body.chunks()):
        for at in range(0, len(chunk), _CHUNK):
            yield chunk[at : at + _CHUNK]


def _path(call: Call) -> str:
    path = call.query.get("path")
    if not path:
        raise InvalidArgument("bad parameter: path cannot be empty")
    if len(path) > 4096 or "\0" in path:
        raise InvalidArgument("bad parameter: path is no path")
    return path


def go_mode(mode: int) -> int:
    """A `st_mode` as Go's `os.FileMode`."""
    bits = sum(go for unix, go in _GO_BITS.items() if mode & unix)
    return mode & 0o777 | _GO_TYPES.get(stat.S_IFMT(mode), 0) | bits


def _stat_header(found: Mapping[str, Any]) -> Headers:
    document = {
        "name": found["name"],
        "size": found["size"],
        "mode": go_mode(found["mode"]),
        "mtime": rfc3339(found["mtime_ns"]),
        "linkTarget": found.get("link_target") or "",
    }
    return (("X-Docker-Container-Path-Stat", base64.b64encode(json.dumps(document).encode()).decode()),)
