# SPDX-License-Identifier: Apache-2.0
"""Events of images: the store knows of no events, so the door that was asked tells of what was done."""

from __future__ import annotations

import time

from hypercell.api.docker.engine import Engine
from hypercell.cloud.contract import Event
from hypercell.images.contract import Image


def publish(engine: Engine, action: str, actor: str, image: Image | None = None) -> None:
    labels = image.config.labels if image is not None else {}
    engine.events.publish(
        Event("image", action, actor, {**labels, "name": actor}, time.time_ns(), engine.tenant),
    )
