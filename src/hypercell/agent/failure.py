# SPDX-License-Identifier: Apache-2.0
"""The error of everything that waits for an agent which does not answer any more."""

from __future__ import annotations

from hypercell.base.errors import VmFailed


def agent_lost(reason: str) -> VmFailed:
    """A new one each time: a raised exception holds its frames, and many may wait for one connection."""
    return VmFailed(f"the agent of the VM is lost: {reason}", "agent-lost", "look at the console of the VM")
