# SPDX-License-Identifier: Apache-2.0
"""What docker mounts into every container, and hides from it."""

from __future__ import annotations

from typing import Any

from hypercell.cloud import tmpfs
from hypercell.cloud.contract import BindRequest, ContainerRequest, Mounted
from hypercell.node.binding import BIND_MOUNT
from hypercell.node.plugging import VOLUME_MOUNT
from hypercell.node.volumes import serial

Json = dict[str, Any]

MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_PTS = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
_SAFE = ("nosuid", "noexec", "nodev")


def mounts(request: ContainerRequest, volumes: tuple[Mounted, ...] = ()) -> list[Json]:
    """OCI `mounts`: docker's, then the user's volumes, binds and tmpfs, which may replace one of them."""
    access = "rw" if request.privileged else "ro"
    shm = ("mode=1777", f"size={request.shm_size}")
    found = [
        _mount("/proc", "proc", "proc", *_SAFE),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", *_PTS),
        _mount("/sys", "sysfs", "sysfs", *_SAFE, access),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", access, *_SAFE),
        _mount("/dev/mqueue", "mqueue", "mqueue", *_SAFE),
        *([] if request.no_shm else [_mount("/dev/shm", "tmpfs", "shm", *_SAFE, *shm)]),  # noqa: S108
    ]
    own = [_volume(mounted) for mounted in volumes]
    own += [_bind(number, bind) for number, bind in enumerate(request.binds)]
    for path, options in request.tmpfs.items():
        clean = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
        own.append(_mount(clean, "tmpfs", "tmpfs", *tmpfs.options(options)))
    for mount in own:
        found = [other for other in found if other["destination"] != mount["destination"]]
        found.append(mount)
    return sorted(found, key=lambda mount: mount["destination"].count("/"))


def _volume(mounted: Mounted) -> Json:
    options = ["ro" if mounted.read_only else "rw"]
    options += ["copy"] if mounted.copy else []
    options += [f"subpath={mounted.subpath}"] if mounted.subpath else []
    return _mount(mounted.target, VOLUME_MOUNT, serial(mounted.volume), *options)


def _bind(number: int, bind: BindRequest) -> Json:
    options = ["rbind" if bind.recursive else "bind", "ro" if bind.read_only else "rw"]
    return _mount(bind.target, BIND_MOUNT, str(number), *options)


def masked(request: ContainerRequest) -> list[str]:
    default = () if request.privileged else MASKED
    return list(default if request.masked_paths is None else request.masked_paths)


def read_only(request: ContainerRequest) -> list[str]:
    default = () if request.privileged else READ_ONLY
    return list(default if request.readonly_paths is None else request.readonly_paths)


def _mount(destination: str, kind: str, source: str, *options: str) -> Json:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
