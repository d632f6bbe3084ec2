# SPDX-License-Identifier: Apache-2.0
"""OCI configurations for tests, like those that docker makes by default."""

from __future__ import annotations

from typing import Any

CAPABILITIES = [
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
]
ROOT = {"lower": [{"disk": "root", "fstype": "erofs"}], "upper": {"disk": "rw", "fstype": "ext4"}}
IN_MEMORY = {"lower": [{"disk": "root", "fstype": "erofs"}], "upper": {"tmpfs": {"size": 16 << 20}}}
_SAFE = ["nosuid", "noexec", "nodev"]


def process(*args: str, **other: Any) -> dict[str, Any]:
    return {
        "args": list(args),
        "cwd": "/",
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        **other,
    }


def _mount(destination: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}


def config(
    *args: str,
    namespaces: dict[str, str] | None = None,
    linux: dict[str, Any] | None = None,
    mounts: list[dict[str, Any]] | None = None,
    **other: Any,
) -> dict[str, Any]:
    """*namespaces* joins: type -> path. *other* goes into the process."""
    joined = namespaces or {}
    return {
        "ociVersion": "1.0.2",
        "process": process(*args, **other),
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "" if "uts" in joined else "box",
        "mounts": [
            _mount("/proc", "proc", *_SAFE),
            _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
            _mount("/dev/shm", "tmpfs", *_SAFE, "mode=1777", "size=65536k"),
            _mount("/dev/mqueue", "mqueue", *_SAFE),
            _mount("/sys", "sysfs", *_SAFE, "ro"),
            _mount("/sys/fs/cgroup", "cgroup", *_SAFE, "ro"),
            *(mounts or []),
        ],
        "linux": {
            "namespaces": [
                {"type": kind, "path": joined[kind]} if kind in joined else {"type": kind}
                for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            **(linux or {}),
        },
    }
