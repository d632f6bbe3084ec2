# SPDX-License-Identifier: Apache-2.0
"""From image layers to one read-only EROFS file, without a path of the image ever existing on the host.

    stats = await build_root(layers, output, limits, progress)

`layers` (lowest first) are merged as image-spec `layer.md` says and written to `output`, mode 0444. The work is done
in a child process that holds nothing but the open layers and the open output, so a hostile layer meets neither the
file system nor the daemon; cancelling the call ends the child. `output` appears complete or not at all.
"""

from hypercell.images.layers.build import build_root
from hypercell.images.layers.contract import LayerSource, Limits, ProgressCallback, RootStats
from hypercell.images.layers.decompress import Expansion, decompress
from hypercell.images.layers.output import PARTIAL
from hypercell.images.layers.write import chain_id
from hypercell.images.tar import DigestMismatch, LayerError, LimitExceeded, MalformedArchive

__all__ = [
    "PARTIAL",
    "DigestMismatch",
    "Expansion",
    "LayerError",
    "LayerSource",
    "LimitExceeded",
    "Limits",
    "MalformedArchive",
    "ProgressCallback",
    "RootStats",
    "build_root",
    "chain_id",
    "decompress",
]
