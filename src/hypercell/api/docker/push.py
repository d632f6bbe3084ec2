# SPDX-License-Identifier: Apache-2.0
"""`POST /images/{name}/push`: an image to the registry that its name gives."""

from __future__ import annotations

from hypercell.api.docker.credentials import sent_with
from hypercell.api.docker.documents import Fields, load_json
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.image_events import publish
from hypercell.api.docker.progress import Json, with_progress
from hypercell.api.http import StreamResponse
from hypercell.base.errors import NotFound
from hypercell.images import platforms, reference
from hypercell.images.contract import ProgressSink


async def push_image(call: Call) -> StreamResponse:
    """Without `tag`, and without one in the name, all tags of the repository are pushed."""
    engine = call.app
    name = reference.parse(call.params["name"])
    if tag := call.query.get("tag"):
        name = name.with_tag(tag)
    credentials = sent_with(call)
    if wanted := call.query.get("platform"):
        await _check_platform(engine, name.familiar, wanted)

    async def work(progress: ProgressSink) -> list[Json]:
        await engine.images.push(engine.tenant, name.familiar, credentials, progress)
        publish(engine, "push", name.familiar)
        return []

    return await with_progress(work)


async def _check_platform(engine: Engine, name: str, text: str) -> None:
    """An image is kept for one platform, and pushed if that is the one which is wanted (JSON)."""
    fields = Fields(load_json(text.encode(), "platform"), "platform")
    wanted = platforms.normalise(fields.text("os"), fields.text("architecture"), fields.text("variant"))
    config = (await engine.images.get(engine.tenant, name)).config
    if platforms.normalise(config.os, config.architecture, config.variant) != wanted:
        raise NotFound(f"image with reference {name} was found but does not provide the specified platform ({wanted})")
