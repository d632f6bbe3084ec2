# SPDX-License-Identifier: Apache-2.0
"""A guest without a VM, for fault injection and for scale. Thousands fit into one process."""

from hypercell.agent.fake.guest import FakeGuest
from hypercell.agent.fake.link import Faults
from hypercell.agent.fake.pipe import memory_pipe

__all__ = ["FakeGuest", "Faults", "memory_pipe"]
