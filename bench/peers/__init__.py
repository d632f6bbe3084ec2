# SPDX-License-Identifier: Apache-2.0
"""What is compared: hypercell's ways to a VM, dockerd with runc and with gVisor, runc alone."""

from bench.peers.dockerd import Dockerd, Gvisor
from bench.peers.engine_api import EngineApi, LeftOut
from bench.peers.hypercell import Hypercell
from bench.peers.runc import Runc

__all__ = ["Dockerd", "EngineApi", "Gvisor", "Hypercell", "LeftOut", "Runc"]
