# SPDX-License-Identifier: Apache-2.0
"""What a name stands for in its registry, without a layer being fetched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypercell.base.config import Config
from hypercell.base.errors import HypercellError
from hypercell.images.contract import Credentials, Distribution
from hypercell.images.documents import Fields, parse_object
from hypercell.images.manifest import MAX_MANIFESTS, Descriptor, Index
from hypercell.images.reference import parse
from hypercell.images.registry.patience import Limits
from hypercell.images.registry.source import Source


async def inspect(config: Config, limits: Limits, reference: str, credentials: Credentials | None) -> Distribution:
    """Raises `InvalidArgument`, `NotFound`, `Unauthorized`, `Unavailable`."""
    name = parse(reference).or_latest()
    async with Source(config, name, credentials, limits) as source:
        document = await source.manifest(name.digest or name.tag)
        if isinstance(document, Index):
            entries = Fields(parse_object(document.raw, "index"), "index").children("manifests", MAX_MANIFESTS)
            platforms = tuple(_platform(Fields(entry.mapping("platform"), entry.where)) for entry in entries)
        else:
            platforms = await _of_config(source, document.config)
    return Distribution(document.media_type, document.digest, len(document.raw), platforms)


async def _of_config(source: Source, config: Descriptor) -> tuple[Mapping[str, Any], ...]:
    """Of an image for one platform, which only its config tells. None if that cannot be had: the rest is an answer."""
    try:
        platform = _platform(Fields(parse_object(await source.document(config), "image config"), "image config"))
    except HypercellError:
        return ()
    return (platform,) if platform["os"] or platform["architecture"] else ()


def _platform(fields: Fields) -> Mapping[str, Any]:
    """As it is told, not normalised: clients compare it with what they know. Raises `InvalidArgument`."""
    platform: dict[str, Any] = {"architecture": fields.text("architecture"), "os": fields.text("os")}
    told = {
        "os.version": fields.text("os.version"),
        "os.features": list(fields.strings("os.features") or ()),
        "variant": fields.text("variant"),
    }
    return platform | {key: value for key, value in told.items() if value}
