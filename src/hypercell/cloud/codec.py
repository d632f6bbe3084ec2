# SPDX-License-Identifier: Apache-2.0
"""What the cloud keeps with a container's record, as JSON."""

from __future__ import annotations

import re
from typing import Any

from hypercell.base.typed import build, plain
from hypercell.cloud.contract import ContainerRequest
from hypercell.cloud.resolve import Resolved

Json = dict[str, Any]
_EXPOSED = re.compile(r"[0-9]{1,5}/[a-z]+")


def dump(resolved: Resolved) -> Json:
    values: Json = plain(resolved)
    del values["warnings"]
    return values


def load(values: Json) -> Resolved:
    """Raises `ValueError` for what `dump` has not made."""
    resolved = build(Resolved, values)
    for entry in resolved.request.exposed:
        if _EXPOSED.fullmatch(entry) is None:
            raise ValueError(f"{entry[:50]!r} is no exposed port")
    return resolved


def stand_in(image_id: str) -> Resolved:
    """For a container whose record cannot be read: nobody knows what was asked for."""
    return Resolved(ContainerRequest(image_id), image_id, (), (), "", "", "", 0, 0)
