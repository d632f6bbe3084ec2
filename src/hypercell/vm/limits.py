# SPDX-License-Identifier: Apache-2.0
"""What the host grants one hypervisor: enough that an honest one never notices, so little that a broken one is held."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.base.sizes import MIB

OVERHEAD = 256 * MIB
"""Bytes that QEMU may use beside its guest's memory: its translation buffer under TCG (64 MiB), itself (some 100 MiB
with its libraries, device state and thread stacks), the rest for page tables and the page cache of its disks."""
OVERHEAD_SHARE = 64
"""And this part of the guest's memory, for what grows with it: page tables, dirty bitmaps, TCG's page descriptors."""
THREADS = 96
"""Beside the vCPUs': the main loop, RCU, a helper or two, and a pool of up to 64 workers for disks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """0: none."""

    memory: int = 0
    """Bytes, page cache included, which the host takes back first."""
    tasks: int = 0
    """Processes and threads."""
    cpu_quota: float = 0.0
    """Cores."""

    @classmethod
    def of_vm(cls, vcpus: int, memory_mib: int, cpu_quota: float = 0.0) -> Limits:
        memory = memory_mib * MIB
        return cls(memory + memory // OVERHEAD_SHARE + OVERHEAD, vcpus + THREADS, cpu_quota)
