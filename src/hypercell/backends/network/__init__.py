# SPDX-License-Identifier: Apache-2.0
"""Networks. `open_network` makes the one for this machine: a bridge, taps, nftables and a DNS forwarder."""

from __future__ import annotations

from hypercell.backends.network.local import LocalNetwork, open_network

__all__ = ["LocalNetwork", "open_network"]
