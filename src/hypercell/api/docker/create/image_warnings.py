# SPDX-License-Identifier: Apache-2.0
"""What an image declares and we do not build yet, told to whoever makes a container of it."""

from __future__ import annotations

from hypercell.api.docker.engine import Engine
from hypercell.images.contract import ImageConfig

_KEPT = 1000


async def image_warnings(engine: Engine, container_id: str) -> tuple[str, ...]:
    """Warnings for the image of a container. Looked up once per image: creation is on the way of every run."""
    image_id = (await engine.containers.inspect(engine.tenant, container_id)).image_id
    known = engine.image_warnings
    if image_id not in known:
        if len(known) >= _KEPT:
            known.clear()
        known[image_id] = _warnings((await engine.images.get(engine.tenant, image_id)).config)
    return known[image_id]


def _warnings(config: ImageConfig) -> tuple[str, ...]:
    warnings = []
    if config.volumes:
        paths = ", ".join(config.volumes)[:1000]
        warnings.append(f"The image declares volumes ({paths}): until volumes are built they live in the container.")
    return tuple(warnings)
