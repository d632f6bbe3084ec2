# SPDX-License-Identifier: Apache-2.0
"""`POST /images/create`: pull from a registry, or import a root file system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

from hypercell.api.docker.credentials import sent_with
from hypercell.api.docker.engine import Call
from hypercell.api.docker.image_events import publish
from hypercell.api.docker.progress import Json, with_progress
from hypercell.api.http import StreamResponse
from hypercell.base.errors import InvalidArgument
from hypercell.images import reference
from hypercell.images.contract import ProgressSink
from hypercell.images.reference import Reference


async def create_image(call: Call) -> StreamResponse:
    if name := call.query.get("fromImage"):
        return await _pull(call, name)
    if source := call.query.get("fromSrc"):
        return await _import(call, source)
    raise InvalidArgument("fromImage or fromSrc must be given")


async def _pull(call: Call, name: str) -> StreamResponse:
    engine = call.app
    wanted = pull_reference(name, call.query.get("tag"))
    whole = not wanted.tag and not wanted.digest  # docker's `pull --all-tags`
    credentials = sent_with(call)
    platform = _platform(call)

    async def work(progress: ProgressSink) -> list[Json]:
        result = "failed"
        image = None
        try:
            if whole:
                await engine.images.pull_all(engine.tenant, wanted.familiar, platform, credentials, progress)
            else:
                image = await engine.images.pull(engine.tenant, wanted.familiar, platform, credentials, progress)
            result = "pulled"
        finally:
            engine.pulls.count(result)
        publish(engine, "pull", wanted.familiar, image)
        return []

    return await with_progress(work)


def pull_reference(name: str, tag: str) -> Reference:
    """`fromImage` and `tag` (which may be a digest) as one name. Raises `InvalidArgument`."""
    given = reference.parse(name.removesuffix(":"))
    if tag.startswith(("sha256:", "sha512:")):
        return reference.parse(f"{given.familiar_name}@{tag}")
    return given.with_tag(tag) if tag else given


def _platform(call: Call) -> str:
    return call.query.get("platform") if call.version >= (1, 32) else ""


async def _import(call: Call, source: str) -> StreamResponse:
    engine, query = call.app, call.query
    address = ""
    if source != "-":
        from hypercell.images import remote  # the HTTP client takes 20 MB, which most daemons need not have

        address = remote.normalise(source)
        source = remote.redacted(source)

    async def work(progress: ProgressSink) -> list[Json]:
        async with AsyncExitStack() as stack:
            archive: AsyncIterator[bytes] = call.body.chunks()
            if address:
                archive = await stack.enter_async_context(aclosing(remote.fetch(address, progress)))
            image = await engine.images.import_root(
                engine.tenant,
                archive,
                query.get("repo"),
                query.get("tag"),
                query.get("message") or f"Imported from {source}",
                query.all("changes"),
                _platform(call),
            )
        publish(engine, "import", image.id, image)
        return [{"status": image.id}]

    return await with_progress(work)
