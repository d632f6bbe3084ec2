# SPDX-License-Identifier: Apache-2.0
"""The built-in networks and their ids: fixed, so that every daemon and every start gives the same."""

from __future__ import annotations

import hashlib

NETWORK_IDS = {name: hashlib.sha256(f"hypercell network {name}".encode()).hexdigest() for name in ("bridge", "none")}
