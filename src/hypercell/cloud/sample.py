# SPDX-License-Identifier: Apache-2.0
"""A container as most users have them, for templates to carry out before anybody waits."""

from __future__ import annotations

from hypercell.cloud import oci
from hypercell.cloud.contract import ContainerRequest
from hypercell.cloud.creation import container_spec
from hypercell.cloud.resolve import resolve
from hypercell.images.contract import Image, ImageConfig
from hypercell.node.network import BRIDGE, Place, Port, Wish
from hypercell.node.sample import PROGRAM
from hypercell.node.spec import ContainerSpec

_NAME = "warming"
# Addresses for documentation (RFC 5737).
_PLACE = Place(Wish(BRIDGE), "bridge", "02:42:c0:00:02:02", "192.0.2.2/24", "192.0.2.1", 1500)
_PORT = Port(_NAME, (_PLACE,), (_PLACE.gateway,))


def sample(kernel_release: str) -> ContainerSpec:
    """*kernel_release*: the guest's `uname -r`."""
    image = Image(_NAME, ImageConfig("amd64", "linux", ""), (), "", (), (), 0, 0, 0)
    resolved = resolve(ContainerRequest(_NAME, command=(PROGRAM,)), image, _NAME, 1)
    return container_spec(resolved, oci.config(resolved, kernel_release), _PORT)
