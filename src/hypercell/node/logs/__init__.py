# SPDX-License-Identifier: Apache-2.0
"""What containers wrote, kept so that a killed daemon loses no byte and doubles none (docs/adr/0007)."""

from hypercell.node.logs.log import Cursor, Log
from hypercell.node.logs.query import read
from hypercell.node.logs.record import Entry
from hypercell.node.logs.rotation import Rotation, rotation

__all__ = ["Cursor", "Entry", "Log", "Rotation", "read", "rotation"]
