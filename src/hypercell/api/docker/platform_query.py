# SPDX-License-Identifier: Apache-2.0
"""The `platform` of image requests, which is JSON (`{"os": …, "architecture": …, "variant": …}`).

An image is kept for one platform, as in dockerd's store of graph drivers: a request for another one finds nothing.
"""

from __future__ import annotations

from hypercell.api.docker.documents import Fields, load_json
from hypercell.api.docker.engine import Call
from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.images import platforms, reference
from hypercell.images.contract import Image
from hypercell.images.platforms import Platform


def decode_platform(text: str) -> Platform:
    """As it was written. Raises `InvalidArgument` in dockerd's words."""
    try:
        fields = Fields(load_json(text.encode(), "platform"), "platform")
        os, architecture, variant = fields.text("os"), fields.text("architecture"), fields.text("variant")
        optional = bool(variant or fields.text("os.version") or fields.texts("os.features"))
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to parse platform: {error.message}") from None
    if optional and not (os or architecture):
        raise InvalidArgument("optional platform fields provided, but OS and Architecture are missing")
    if not (os and architecture):
        raise InvalidArgument("both OS and Architecture must be provided")
    return Platform(os, architecture, variant)


def wanted_platform(call: Call, since: tuple[int, int]) -> Platform | None:
    """What `platform` says; None where it says nothing, or the client's API version is from before *since*."""
    text = call.query.get("platform")
    return decode_platform(text) if text and call.version >= since else None


def require_platform(image: Image, name: str, wanted: Platform | None) -> None:
    """Raises `NotFound` unless the image, which *name* has found, serves that platform."""
    has = Platform(image.config.os, image.config.architecture, image.config.variant)
    if wanted is None or platforms.serves(wanted, has):
        return
    raise NotFound(platforms.mismatch(_shown(name), has, wanted))


def _shown(name: str) -> str:
    """A name that was given in full is shown in its familiar form, any other as it was given."""
    try:
        parsed = reference.parse(name)
    except InvalidArgument:
        return name[:300]
    return parsed.familiar if name.startswith(parsed.name) else name[:300]
