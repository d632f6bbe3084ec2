# SPDX-License-Identifier: Apache-2.0
"""`POST /commit`: an image of a container."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.documents import Fields, load_json
from hypercell.api.docker.engine import Call
from hypercell.api.docker.image_events import publish
from hypercell.api.docker.query import flag, json_body
from hypercell.api.http import Response, json_response
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import CommitRequest
from hypercell.images import reference

_LONGEST = 64 * 1024
_TEXTS = ("User", "WorkingDir", "StopSignal")
_WORDS = ("Cmd", "Entrypoint", "Env", "OnBuild", "Shell")
_SETS = ("ExposedPorts", "Volumes")


async def commit_container(call: Call) -> Response:
    engine, query = call.app, call.query
    name = query.get("container")
    if not name:
        raise InvalidArgument("container must be given", "name the container of which an image is to be made")
    texts = {"comment": query.get("comment"), "author": query.get("author")}
    for key, text in texts.items():
        if len(text) > _LONGEST or "\0" in text:
            raise InvalidArgument(f"{key}: longer than {_LONGEST} characters, or with a NUL")
    repository = query.get("repo")
    if repository and reference.parse(repository).familiar_name == "sha256":
        raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
    request = CommitRequest(
        repository=repository,
        tag=query.get("tag"),
        pause=flag(query, "pause", default=True),
        changes=tuple(line for change in query.all("changes") for line in change.split("\n") if line.strip()),
        config=_config(await json_body(call)),
        **texts,
    )
    image_id = await engine.containers.commit(engine.tenant, name, request)
    if repository:
        image = await engine.images.get(engine.tenant, image_id)
        publish(engine, "tag", f"{repository}:{request.tag or 'latest'}", image)
    return json_response({"Id": image_id}, 201)


def _config(body: bytes) -> dict[str, Any]:
    """Of docker's container config what an image has too; the rest is about containers: ignored, as by dockerd."""
    document = load_json(body) if body.strip() else None
    if document is None:
        return {}
    fields = Fields(document)
    config: dict[str, Any] = {key: fields.text(key) for key in _TEXTS}
    config |= {key: list(fields.words(key) or ()) for key in _WORDS}
    config |= {key: {name: {} for name in fields.mapping(key)} for key in _SETS}
    config["Labels"] = fields.text_mapping("Labels")
    config["StopTimeout"] = fields.number("StopTimeout", low=-1, high=1 << 31)
    config["Healthcheck"] = fields.take("Healthcheck")
    return config
