# SPDX-License-Identifier: Apache-2.0
"""The Docker Engine API, versions 1.24 to 1.51, as dockerd 28 speaks it."""

from hypercell.api.docker.application import make_server
from hypercell.api.docker.engine import Engine
from hypercell.api.docker.facts import Facts

__all__ = ["Engine", "Facts", "make_server"]
