# SPDX-License-Identifier: Apache-2.0
"""What a specification must be to be that of a VM, of a template, of a clone, of a claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypercell.base.errors import InvalidArgument
from hypercell.vm import records
from hypercell.vm.driver import DEVICE_MAC, VmSpec

MAX_VCPUS = 16
"""NR_CPUS of our kernel (guest/kernel/fragment)."""
_LEAST_MEMORY_MIB = 32
_MOST_MEMORY_MIB = 1024 * 1024


def check(spec: VmSpec) -> None:
    """Raise `InvalidArgument` for what would not be a VM. The kernel's command line is ours."""
    records.check_id(spec.id)
    if not 1 <= spec.vcpus <= MAX_VCPUS:
        raise InvalidArgument(f"a VM has 1 to {MAX_VCPUS} CPUs, not {spec.vcpus}")
    if not _LEAST_MEMORY_MIB <= spec.memory_mib <= _MOST_MEMORY_MIB:
        raise InvalidArgument(f"a VM has {_LEAST_MEMORY_MIB} MiB to 1 TiB of memory, not {spec.memory_mib} MiB")
    if spec.nic is not None and spec.nic.mac != DEVICE_MAC:
        raise InvalidArgument(
            f"a card is born as {DEVICE_MAC}, not as {spec.nic.mac[:40]!r}", "the guest gives it another"
        )


def check_template(spec: VmSpec, key: Callable[[VmSpec], str]) -> None:
    """Raise `InvalidArgument` when *spec* names a template of another *key* than its own, or one where it cannot."""
    if spec.shared and spec.template is not None:
        raise InvalidArgument("a VM that sees files of the host is nobody's clone")
    if spec.template is not None and spec.template.key != key(spec):
        raise InvalidArgument("the template is of another shape than the VM", "one that was changed is built again")


def check_claim(vm_id: str, spec: VmSpec) -> None:
    """Raise `InvalidArgument` for what cannot be the new name of *vm_id*."""
    records.check_id(vm_id)
    records.check_id(spec.id)
    if vm_id == spec.id:
        raise InvalidArgument(f"the VM {vm_id[:80]!r} is called so already")


def bare(spec: VmSpec) -> VmSpec:
    """That of the VM of which a template for *spec* is made: nobody's content, nobody's limits."""
    return replace(spec, disks={}, cpu_quota=0.0, template=None, shared=())
