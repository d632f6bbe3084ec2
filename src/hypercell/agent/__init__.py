# SPDX-License-Identifier: Apache-2.0
"""The host's side of the agent protocol (docs/agent-protocol.md).

`connect` greets the agent of a VM and returns an `Agent`; what it does is in `contract`. `fake.FakeGuest` is the
other side in memory.
"""

from hypercell.agent.client import Client, connect
from hypercell.agent.contract import Agent, Connect, InputStream, Json, Opener, OutputStream, Welcome

__all__ = ["Agent", "Client", "Connect", "InputStream", "Json", "Opener", "OutputStream", "Welcome", "connect"]
