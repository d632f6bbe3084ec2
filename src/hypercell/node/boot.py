# SPDX-License-Identifier: Apache-2.0
"""How a pod comes by its VM: what it asks the factory for, what it brings along, and when it wants another one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypercell.base.errors import VmFailed
from hypercell.base.sizes import DEFAULT_SIZE
from hypercell.node.spec import PodSpec
from hypercell.node.trace import Trace
from hypercell.vm.driver import Disk, GuestKernel, Shared, Slot, Vm, VmSpec
from hypercell.vm.factory import Isolation, Way, memory_mib, slower

if TYPE_CHECKING:
    from hypercell.node.pod import Pod

Json = dict[str, Any]
UNWANTED = "the VM was ended"


def vm_spec(ident: str, spec: PodSpec, kernel: GuestKernel, disks: Mapping[Slot, Disk] | None = None) -> VmSpec:
    """The VM that a pod needs; its card is the factory's affair."""
    return VmSpec(
        id=ident,
        vcpus=spec.vcpus,
        memory_mib=memory_mib(spec.memory, kernel.overhead_mib),
        kernel=kernel,
        disks=dict(disks or {}),
        cpu_quota=spec.cpu_quota,
        shared=tuple(Shared(Path(bind.path), bind.read_only, bind.recursive) for bind in spec.binds),
    )


def usual_spec(kernel: GuestKernel) -> VmSpec:
    """The VM of a container that says nothing of its size."""
    memory = memory_mib(DEFAULT_SIZE.memory, kernel.overhead_mib)
    return VmSpec(id="", vcpus=DEFAULT_SIZE.vcpus, memory_mib=memory, kernel=kernel)


def isolation(spec: PodSpec) -> Isolation | None:
    """What the tenant asked for; None: whatever the operator gives."""
    return Isolation(spec.isolation) if spec.isolation else None


class Berth:
    """Implements `factory.Client` for a pod."""

    def __init__(self, pod: Pod, trace: Trace) -> None:
        self._pod = pod
        self._trace = trace

    async def open(self) -> int:
        with self._trace.step("network"):
            return await self._pod.services.network.open_tap(self._pod.id)

    async def give(self, spare: str) -> None:
        with self._trace.step("network"):
            await self._pod.services.network.give_tap(self._pod.id, spare)

    def booting(self) -> AbstractContextManager[None]:
        return self._trace.step("guest")

    def found(self, vm: Vm) -> None:
        self._pod.forget_promise()
        self._pod.vm = vm
        if self._pod.doomed:
            raise VmFailed(UNWANTED, "shutdown")

    @property
    def wanted(self) -> bool:
        return not self._pod.doomed

    def on_event(self, event: Json) -> None:
        self._pod.on_event(event)


async def reject(pod: Pod, error: BaseException) -> Way | None:
    """A start failed with *error*: throw the VM away if it was made of another, and never confirmed that it is well.
    The quickest way that is then worth a try; None when there is none, and the failure is the start's own."""
    launched = pod.launched
    if launched is None or not launched.key:
        return None
    if not isinstance(error, VmFailed) or pod.confirmed or pod.doomed:
        return None
    await pod.forget_vm()
    await pod.services.factory.reject(launched, error.message)
    for held in pod.volumes.values():  # they are still the pod's, but in no VM
        held.plugged = False
    return slower(launched.way) or Way.COLD  # whose zygote is dropped now
