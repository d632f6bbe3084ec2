# SPDX-License-Identifier: Apache-2.0
"""`POST /images/create`: pull from a registry, or import a root file system."""

from __future__ import annotations

from hypercell.api.docker.credentials import sent_with
from hypercell.api.docker.engine import Call
from hypercell.api.docker.image_events import publish
from hypercell.api.docker.progress import Json, with_progress
from hypercell.api.http import StreamResponse
from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.images import reference
from hypercell.images.contract import ProgressSink


async def create_image(call: Call) -> StreamResponse:
    if name := call.query.get("fromImage"):
        return await _pull(call, name)
    if call.query.get("fromSrc") == "-":
        return await _import(call)
    if call.query.get("fromSrc"):
        raise Unsupported("importing from a URL is not built yet", "fetch it and import from standard input")
    raise InvalidArgument("fromImage or fromSrc must be given")


async def _pull(call: Call, name: str) -> StreamResponse:
    engine = call.app
    wanted = pull_reference(name, call.query.get("tag"))
    credentials = sent_with(call)
    platform = call.query.get("platform")

    async def work(progress: ProgressSink) -> list[Json]:
        result = "failed"
        try:
            image = await engine.images.pull(engine.tenant, wanted, platform, credentials, progress)
            result = "pulled"
        finally:
            engine.pulls.count(result)
        publish(engine, "pull", wanted, image)
        return []

    return await with_progress(work)


def pull_reference(name: str, tag: str) -> str:
    """`fromImage` and `tag` (which may be a digest) as one name. Raises `InvalidArgument`, `Unsupported`."""
    given = reference.parse(name.removesuffix(":"))
    if tag.startswith(("sha256:", "sha512:")):
        return f"{given.familiar_name}@{tag}"
    if tag:
        return given.with_tag(tag).familiar
    if given.tag or given.digest:
        return given.familiar
    # Without any tag this is docker's `pull --all-tags`.
    raise Unsupported("pulling all tags of a repository is not built yet", "name a tag")


async def _import(call: Call) -> StreamResponse:
    engine, query = call.app, call.query

    async def work(progress: ProgressSink) -> list[Json]:
        image = await engine.images.import_root(
            engine.tenant,
            call.body.chunks(),
            query.get("repo"),
            query.get("tag"),
            query.get("message") or "Imported from -",
            query.all("changes"),
            query.get("platform"),
        )
        publish(engine, "import", image.id, image)
        return [{"status": image.id}]

    return await with_progress(work)
