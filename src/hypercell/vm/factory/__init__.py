# SPDX-License-Identifier: Apache-2.0
"""How the node comes by its VMs: from a pool, from a template, or by a boot (docs/adr/0010-templates-and-pool.md)."""

from __future__ import annotations

from hypercell.vm.factory.factory import Factory, Figures
from hypercell.vm.factory.promises import Promise
from hypercell.vm.factory.sizes import memory_mib
from hypercell.vm.factory.warming import Sample
from hypercell.vm.factory.ways import Client, Isolation, Launched, Way, slower

__all__ = ["Client", "Factory", "Figures", "Isolation", "Launched", "Promise", "Sample", "Way", "memory_mib", "slower"]
