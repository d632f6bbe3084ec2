# SPDX-License-Identifier: Apache-2.0
"""What clients have us ask registries: `POST /auth`, `GET /distribution/{name}/json`, `GET /images/search`."""

from __future__ import annotations

from hypercell.api.docker.credentials import read_credentials, sent_with
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.filters import Filters
from hypercell.api.docker.query import json_fields, number
from hypercell.api.http import Response, Route, json_response
from hypercell.base.digits import is_digits
from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.images import reference
from hypercell.images.contract import SearchResult

_SEARCH_FILTERS = frozenset(("is-automated", "is-official", "stars"))
_USUAL_RESULTS = 25


async def login(call: Call) -> Response:
    token = await call.app.registries.login(read_credentials(await json_fields(call)))
    return json_response({"Status": "Login Succeeded", "IdentityToken": token})


async def inspect_distribution(call: Call) -> Response:
    name = call.params["name"]
    if (digits := reference.id_prefix(name)) and len(digits) == 64:
        raise NotFound("no manifest found for full image ID", "name a repository")
    found = await call.app.registries.inspect(name, sent_with(call))
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    return json_response({"Descriptor": descriptor, "Platforms": list(found.platforms) or None})


async def search_images(call: Call) -> Response:
    filters = Filters.parse(call.query.get("filters"), _SEARCH_FILTERS)
    limit = number(call.query, "limit")
    if limit is not None and limit < 0:
        raise InvalidArgument("invalid limit specified")
    stars = max(map(_stars, filters.get("stars")), default=0)
    if filters.flag("is-automated", False):
        return json_response([])  # there are no such images any more
    found = await call.app.registries.search(call.query.get("term"), limit or _USUAL_RESULTS, sent_with(call))
    official = filters.flag("is-official", False) if "is-official" in filters else None
    kept = [image for image in found if official in (None, image.official) and image.stars >= stars]
    return json_response([_result_json(image) for image in kept])


def _stars(text: str) -> int:
    if not is_digits(text):
        raise InvalidArgument(f"invalid filter 'stars={text[:40]}'")
    return int(text)


def _result_json(image: SearchResult) -> dict[str, object]:
    return {
        "star_count": image.stars,
        "is_official": image.official,
        "name": image.name,
        "is_automated": False,
        "description": image.description,
    }


ROUTES: list[Route[Engine]] = [
    Route("POST", "/auth", login, until_gone=True),
    Route("GET", "/distribution/{name}/json", inspect_distribution, until_gone=True),
    Route("GET", "/images/search", search_images, until_gone=True),
]
