# SPDX-License-Identifier: Apache-2.0
"""All tags of a repository (distribution-spec "Content Discovery"): pages, each of which says where the next one is."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from hypercell.base.errors import InvalidArgument
from hypercell.images.documents import MAX_DOCUMENT, Fields, parse_object
from hypercell.images.registry import refusals
from hypercell.images.registry.patience import Patience, Transient
from hypercell.images.registry.session import Session, read_body

MAX_TAGS = 10_000
MAX_PAGES = 1_000
_NEXT = re.compile(r'\s*<([^<>]{1,2000})>\s*;[^,]{0,100}\brel="?next"?', re.IGNORECASE)


async def list_tags(session: Session) -> list[str]:
    """As the registry orders them, each once. Raises `NotFound`, `Unauthorized`, `Unavailable`; `InvalidArgument` for
    an answer that is none, or for too many."""
    tags: dict[str, None] = {}
    page = f"{session.repository}/tags/list"
    for _ in range(MAX_PAGES):
        found, page = await _page(session, page)
        tags |= dict.fromkeys(found)
        if len(tags) > MAX_TAGS:
            raise InvalidArgument(f"the repository has more than {MAX_TAGS} tags", "name those that you want")
        if not page:
            return list(tags)
    raise InvalidArgument(f"the registry {session.endpoint.host} lists tags on more than {MAX_PAGES} pages")


async def _page(session: Session, path: str) -> tuple[list[str], str]:
    """The tags of a page, and the path of the next one."""
    patience = Patience(session.limits)
    while True:
        try:
            async with session.document(path) as response:
                body = await read_body(response, MAX_DOCUMENT)
                status, link = response.status_code, response.headers.get("link", "")
            if status != 200:
                raise refusals.of_manifest(status, body, session.endpoint.host, session.name)
            break
        except Transient as failure:
            await patience.failed(failure)
    answer = Fields(parse_object(body, "the registry's list of tags"), "the registry's list of tags")
    return list(answer.strings("tags") or ()), _next(session, path, link)


def _next(session: Session, path: str, link: str) -> str:
    """Where *link*, an HTTP `Link`, says that the next page is, which must be at the same place; else empty."""
    match = _NEXT.match(link)
    if match is None:
        return ""
    try:
        target = urlsplit(urljoin(session.url + path, match[1]))
    except ValueError:
        target = urlsplit("")
    if f"{target.scheme}://{target.netloc}" != session.url:
        raise InvalidArgument(f"the registry {session.endpoint.host} has its list of tags go on elsewhere")
    return f"{target.path}?{target.query}"
