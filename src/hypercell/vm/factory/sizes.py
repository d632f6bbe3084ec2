# SPDX-License-Identifier: Apache-2.0
"""How much memory a VM has: so many sizes that every container fits well, so few that templates are shared."""

from __future__ import annotations

from hypercell.base.sizes import MIB

LEAST_MIB = 64
_STEPS = 8


def memory_mib(container_bytes: int, overhead_mib: int) -> int:
    """MiB of the VM for a container that may use *container_bytes*, the kernel's overhead on top.

    Rounded up to a multiple of an eighth of the power of two below it: at most an eighth more than was asked for. The
    container's own limit stays exact, as its cgroup in the guest holds it.
    """
    wanted = max(LEAST_MIB, -(-container_bytes // MIB) + overhead_mib)
    step = max(1, (1 << (wanted.bit_length() - 1)) // _STEPS)
    return -(-wanted // step) * step
