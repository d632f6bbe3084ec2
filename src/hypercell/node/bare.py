# SPDX-License-Identifier: Apache-2.0
"""A container of which there is only what it is made of: for files to be looked at, or put in order, where nothing of a
tenant's runs. It is held by a process that never executes anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
SUPERUSER = {"uid": 0, "gid": 0}
_NAMESPACES = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network")]
_DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]}


def bare(
    name: str, root: Mapping[str, Any], mounts: list[Json], user: Json = SUPERUSER, read_only: bool = False
) -> Json:
    """`container.create` of it, with what an agent wants besides."""
    config = {
        "ociVersion": "1.0.2",
        "process": {"args": ["-"], "cwd": "/", "user": user},
        "root": {"path": "rootfs", "readonly": read_only},
        "mounts": [_DEV, *mounts],
        "linux": {"namespaces": _NAMESPACES},
    }
    return {"container": name, "root": root, "config": config}
