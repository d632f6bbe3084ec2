# SPDX-License-Identifier: Apache-2.0
"""Images that are nothing but their configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypercell.base.errors import NotFound
from hypercell.images.contract import Image, ImageConfig, RootImage

BUSYBOX_ID = "sha256:" + "b" * 64


def image(name: str = "busybox:latest", ident: str = BUSYBOX_ID, **config: Any) -> Image:
    values: dict[str, Any] = {"architecture": "amd64", "os": "linux", "created": "", "command": ("sh",), **config}
    return Image(ident, ImageConfig(**values), ("sha256:" + "d" * 64,), "sha256:" + "c" * 64, (name,), (), 4096, 1, 1)


class ImageShelf:
    """The part of `images.contract.Images` that cloud and node use."""

    def __init__(self, directory: Path, *images: Image) -> None:
        self._directory = directory
        self.images = {item.id: item for item in images or (image(),)}
        self.in_use: Callable[[str], list[str]] = lambda image_id: []

    def put(self, item: Image) -> None:
        self.images[item.id] = item

    async def get(self, tenant: str, reference: str) -> Image:
        for item in self.images.values():
            if reference in (item.id, *item.tags, *(tag.removesuffix(":latest") for tag in item.tags)):
                return item
        raise NotFound(f"No such image: {reference}")

    async def root(self, image_id: str) -> RootImage:
        item = self.images[image_id]
        path = self._directory / "root.erofs"
        path.touch()
        return RootImage(path, item.chain_id, item.size)
