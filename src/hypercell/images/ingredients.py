# SPDX-License-Identifier: Apache-2.0
"""What makes an image, whatever way it came: its config and its layers, all in the content store and leased."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.images import config, digests
from hypercell.images.config import ParsedConfig
from hypercell.images.digests import Digest
from hypercell.images.manifest import Descriptor


@dataclass(frozen=True, slots=True)
class Ingredients:
    id: Digest
    """Of the config."""
    config_text: str
    parsed: ParsedConfig
    layers: tuple[Descriptor, ...]
    """As many as the config has diff ids, in the same order."""
    manifest_digest: Digest | None = None
    """The manifest that lists exactly these layers, when one came along."""

    @property
    def chains(self) -> list[Digest]:
        return digests.chain_ids(self.parsed.diff_ids)

    @property
    def chain_id(self) -> Digest:
        return self.chains[-1]


def combine(raw: bytes, layers: tuple[Descriptor, ...], manifest_digest: Digest | None = None) -> Ingredients:
    """Raises `InvalidArgument` when the config in *raw* is wrong or does not go with *layers*."""
    parsed = config.parse(raw)
    config.match_layers(parsed, len(layers))
    return Ingredients(digests.of(raw), raw.decode(), parsed, layers, manifest_digest)
