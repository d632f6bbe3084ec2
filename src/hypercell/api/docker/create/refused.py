# SPDX-License-Identifier: Apache-2.0
"""Options of `HostConfig` that say something which is not built: 501 with the option's name, unless they say nothing.

Never silently ignored: a user who asks for a device and gets none must be told.
"""

from __future__ import annotations

from hypercell.api.docker.create.joining import MODES, PREFIX
from hypercell.api.docker.documents import Fields
from hypercell.base.errors import InvalidArgument, Unsupported

_BLOCK_IO = "the size of the container bounds what it may use"
_NOT_BUILT = {
    "Links": "containers find each other by name on a network of their own (network create)",
    "Devices": "a container runs in a VM of its own, which has none of the host's devices",
    "DeviceRequests": "a container runs in a VM of its own, which has none of the host's devices",
    "BlkioWeightDevice": _BLOCK_IO,
    "BlkioDeviceReadBps": _BLOCK_IO,
    "BlkioDeviceWriteBps": _BLOCK_IO,
    "BlkioDeviceReadIOps": _BLOCK_IO,
    "BlkioDeviceWriteIOps": _BLOCK_IO,
    "CpuRealtimePeriod": "",
    "CpuRealtimeRuntime": "",
    "Cgroup": "",
    "IOMaximumIOps": "",
    "IOMaximumBandwidth": "",
}
_MODES = {
    "PidMode": ("", "private", "host"),
    "IpcMode": ("", "private", "shareable", "none", "host"),
    "UTSMode": ("", "host"),
    "UsernsMode": ("", "host"),
    "CgroupnsMode": ("", "private", "host"),
}
_OF_THE_VM = {"PidMode": "pid", "IpcMode": "ipc", "UTSMode": "uts", "CgroupnsMode": "cgroup"}
"""The namespace of which the container has none of its own in mode `host`: its host is its VM."""
_RUNTIMES = ("", "hypercell")
_MEANINGLESS = {
    "CgroupParent": "a container's cgroup is in its own VM: CgroupParent has no meaning and was ignored",
    "CpuCount": "CpuCount has a meaning on Windows only and was ignored",
    "CpuPercent": "CpuPercent has a meaning on Windows only and was ignored",
    "OomKillDisable": "a VM that is out of memory has to end something: OomKillDisable was ignored",
    "KernelMemoryTCP": "memory is limited as a whole: KernelMemoryTCP was ignored",
    "BlkioWeight": "a container shares its VM's disk with nobody: BlkioWeight was ignored",
}


def refuse_what_is_not_built(fields: Fields) -> None:
    """Take the options that are not built off *fields*. Raises `Unsupported` for one that is used."""
    for name, hint in _NOT_BUILT.items():
        if fields.take(name) not in (None, False, 0, "", [], {}):
            raise Unsupported(f"{fields.name(name)} is not built yet", hint)


def check_modes(fields: Fields) -> dict[str, str]:
    """The namespace modes, as given; every container has a kernel of its own."""
    modes = {name: fields.text(name) for name in _MODES}
    for name, mode in modes.items():
        if mode in _MODES[name]:
            continue
        if mode.startswith(PREFIX) and name in MODES:
            continue
        raise InvalidArgument(f"{fields.name(name)}: invalid mode {mode[:100]!r}")
    runtime = fields.text("Runtime")
    if runtime not in _RUNTIMES:
        raise InvalidArgument(f"unknown or invalid runtime name: {runtime[:100]}", "there is one: hypercell")
    driver = fields.text("VolumeDriver")
    if driver not in ("", "local"):
        raise Unsupported(f"{fields.name('VolumeDriver')} {driver[:100]!r} is not built yet", "there is: local")
    return modes


def vm_namespaces(modes: dict[str, str]) -> tuple[str, ...]:
    """`ContainerRequest.vm_namespaces` of the *modes* that `check_modes` returned."""
    return tuple(namespace for name, namespace in _OF_THE_VM.items() if modes[name] == "host")


def warn_of_the_meaningless(fields: Fields) -> list[str]:
    return [warning for name, warning in _MEANINGLESS.items() if fields.take(name) not in (None, 0, "")]
