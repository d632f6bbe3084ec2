# SPDX-License-Identifier: Apache-2.0
"""Files and directories of the host in a VM (docs/adr/0017-host-directories.md)."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path

from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.node.spec import PodBind

BIND_MOUNT = "hypercell.bind"
"""The type of a mount whose source is the number of one of `PodSpec.binds`."""
_KINDS = {
    stat.S_IFSOCK: "a socket of this machine, which cannot be reached from a VM",
    stat.S_IFIFO: "a pipe of this machine, which cannot be reached from a VM",
    stat.S_IFCHR: "a device of this machine, and a VM has its own",
    stat.S_IFBLK: "a device of this machine, and a VM has its own",
}


async def check(bind: PodBind) -> bool:
    """Whether there is something to be bound. Raises `Unsupported` for what has no meaning in a VM, `InvalidArgument`
    for what cannot be looked at."""
    return await asyncio.to_thread(_check, bind)


async def make_missing(binds: Sequence[PodBind]) -> None:
    """Make the directories that are to be there by now. Raises as `check`, and `InvalidArgument` for what is not."""
    for bind in binds:
        if await check(bind):
            continue
        if not bind.make:
            raise InvalidArgument(f"bind source path does not exist: {bind.path}")
        try:
            await asyncio.to_thread(Path(bind.path).mkdir, 0o755, parents=True, exist_ok=True)
        except OSError as error:
            words = f"error while creating mount source path '{bind.path}': mkdir: {error.strerror}"
            raise InvalidArgument(words) from error


def _check(bind: PodBind) -> bool:
    try:
        kind = stat.S_IFMT(Path(bind.path).stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InvalidArgument(f"cannot look at {bind.path}: {error.strerror}") from error
    if kind in _KINDS:
        raise Unsupported(f"{bind.path} is {_KINDS[kind]}", "bind files and directories")
    return True
