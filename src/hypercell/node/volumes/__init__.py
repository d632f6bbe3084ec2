# SPDX-License-Identifier: Apache-2.0
"""Volumes: disks that outlive containers, and who may have which."""

from hypercell.node.volumes.claims import Claims
from hypercell.node.volumes.storage import VolumeStorage
from hypercell.node.volumes.store import VolumeStore
from hypercell.node.volumes.volume import ANONYMOUS, HeldVolume, Volume, serial

__all__ = ["ANONYMOUS", "Claims", "HeldVolume", "Volume", "VolumeStorage", "VolumeStore", "serial"]
