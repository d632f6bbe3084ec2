# SPDX-License-Identifier: Apache-2.0
"""Images by a word. Only registries that kept the API of docker's first version have a search; distribution-spec has
none, so that most answer 404, which is told as dockerd tells it."""

from __future__ import annotations

from urllib.parse import urlencode

from hypercell.base.config import Config
from hypercell.base.errors import InvalidArgument
from hypercell.images import reference
from hypercell.images.contract import Credentials, SearchResult
from hypercell.images.documents import MAX_DOCUMENT, Fields, parse_object
from hypercell.images.registry import refusals
from hypercell.images.registry.endpoints import endpoints
from hypercell.images.registry.patience import Limits
from hypercell.images.registry.session import Session, read_body

MAX_RESULTS = 100
MAX_TERM = 1024


async def search(
    config: Config, limits: Limits, term: str, limit: int, credentials: Credentials | None
) -> list[SearchResult]:
    """At most *limit* repositories. Raises `InvalidArgument`, `Unauthorized`, `Unavailable`; `Unexpected` when the
    registry has no search."""
    if not 1 <= limit <= MAX_RESULTS:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {MAX_RESULTS}]")
    domain, word = split(term)
    session = Session(endpoints(config, domain)[-1], None, credentials, limits)
    try:
        async with session.document(f"/v1/search?{urlencode({'q': word, 'n': limit})}") as response:
            status = response.status_code
            body = await read_body(response, MAX_DOCUMENT)
    finally:
        await session.close()
    if status != 200:
        hint = f"the registry {domain} has no search" if status in (404, 405) else ""
        raise refusals.Unexpected(f"Unexpected status code {status}", hint)
    return _results(body)[:limit]


def split(term: str) -> tuple[str, str]:
    """The registry that *term* begins with, or the default one, and the word. Raises `InvalidArgument`."""
    if len(term) > MAX_TERM:
        raise InvalidArgument(f"a search term has at most {MAX_TERM} characters")
    if "://" in term:
        raise InvalidArgument(
            f"invalid repository name: repository name ({term[:200]}) should not have a scheme", "leave it away"
        )
    first, slash, word = term.partition("/")
    if not slash or not (first == "localhost" or any(character in first for character in ".:")):
        return reference.DEFAULT_DOMAIN, term.removeprefix(reference.OFFICIAL_PREFIX)
    if not reference.is_domain(first):
        raise InvalidArgument(f"invalid index name ({first[:200]})", "name a registry: host[:port]")
    return first, word


def _results(body: bytes) -> list[SearchResult]:
    answer = Fields(parse_object(body, "the registry's answer"), "the registry's answer")
    return [
        SearchResult(
            entry.text("name"),
            entry.text("description"),
            entry.integer("star_count") if "star_count" in entry.values else 0,
            entry.values.get("is_official") is True,
        )
        for entry in answer.children("results", 10 * MAX_RESULTS)
    ]
